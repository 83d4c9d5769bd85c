# C declarations of app/query/_tagged.pyx, so that the table uses it without Python calls.

from app.query._cells cimport Feed
from app.rollup._msgpack cimport Cursor
from app.rollup._numbers cimport AddonKeys

cdef enum:
    VALUES_MAX = 8  # value columns of a section

cdef class TaggedRow:
    cdef bytes packed  # the key columns
    cdef object key
    cdef long long id  # that of its source's label; not of open metrics
    cdef Feed *feeds
    cdef int size  # of feeds; 0 if no query is about the row
    cdef list series_keys  # held for the feeds
    cdef Py_ssize_t position  # in `ordered_rows`
    cdef bint has_values
    cdef long long values[VALUES_MAX]  # added up for the present cells of the feeds
    cdef bint is_moved(self) noexcept

cdef class TaggedRows:
    cdef object section
    cdef list readers  # the QueryCells that are about it
    cdef str app
    cdef int key_count
    cdef int value_count
    cdef int merges[VALUES_MAX]
    cdef bint is_signed
    cdef bint has_count
    cdef dict rows  # by their packed keys
    cdef list ordered_rows
    cdef Py_ssize_t next  # behind the last hit
    cdef dict addon_rows  # of an add-on's samples by number, by its AddonKeys
    cdef int start_app(self, str app) except -1
    cdef int read(self, Cursor *part, object id_of) except -1
    cdef int read_addons(self, Cursor *part) except -1
    cdef list _rows_of_addon(self, AddonKeys keys)
    cdef TaggedRow _addon_row(self, AddonKeys keys, int sample)
    cdef TaggedRow _row(self, Cursor *part, object id_of)
    cdef tuple _key_columns(self, Cursor *part)
    cdef TaggedRow _add_row(self, bytes packed, tuple columns, object id_of)
    cdef int _read_values(self, TaggedRow row, Cursor *part) except -1
    cdef int _add_values(self, TaggedRow row, const long long *values) except -1
    cdef int _merge(self, TaggedRow row, const long long *values) except -1
    cdef int _pass_on(self, TaggedRow row) except -1
    cdef int finish(self) except -1
