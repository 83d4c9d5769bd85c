# The C interface of app/rollup/_numbers.pyx, so that other extension modules call it without Python.

cimport cython

from app.rollup._msgpack cimport Cursor

cdef enum:
    KEY_COLUMNS = 4  # of each section of a family
    FAMILY_SECTIONS_MAX = 16

cdef tuple FAMILY_SECTIONS  # the names of the sections of all families, by their number

cdef struct Bin:
    int index
    long long count  # 0 for an empty slot

cdef struct Bins:
    # A sketch, as a hash table.
    Bin *slots
    int size  # a power of 2, or 0
    int used

@cython.final
cdef class OpenKey:
    cdef bytes packed  # the key columns as MessagePack
    cdef const unsigned char *raw  # of packed
    cdef Py_ssize_t size
    cdef Py_hash_t hash
    cdef tuple columns
    cdef OpenKey without_dyno  # None until it is asked for
    cdef int sample  # its number in app.rollup.addon_rows, or -1
    cdef bytes addon  # the packed addon and attachment of a key that has a number

cdef struct NumberRow:
    void *key  # an OpenKey; owned
    Bins bins  # of a sketch
    long long count
    long long whole
    long long millionths
    long long smallest
    long long largest
    long long last_at_ms
    long long last

@cython.final
cdef class AddonKeys:
    # The keys of an add-on's samples that have a number.
    cdef str addon
    cdef str attachment
    cdef list keys  # by number; None until it is asked for
    cdef OpenKey key(self, int sample)

cdef struct Sorted:
    # A row in its packed order.
    const unsigned char *raw  # its packed key, or the addon and attachment
    int sample
    int position

@cython.final
cdef class NumberRows:
    cdef readonly int number
    cdef readonly str section
    cdef bint is_sketch
    cdef bint is_summary  # with extremes and the last number
    cdef bint is_by_source
    cdef bint is_of_addons
    cdef NumberRow *rows
    cdef int size
    cdef int capacity
    cdef int next  # where the next row is expected: rows come in the same order
    cdef int *places  # positions of rows by their hash, or -1; NULL while there are few
    cdef int places_size
    cdef NumberRow *find(self, OpenKey key) except NULL
    cdef int add_number(self, OpenKey key, long long millionths, long long at_ms) except -1
    cdef int add_to_bin(self, OpenKey key, int index) except -1
    cdef int merge(self, NumberRows other) except -1
    cdef int bin_count(self) noexcept
    cdef int _merge_from(self, OpenKey key, const NumberRow *other) except -1
    cdef NumberRow *_row_at(self, const unsigned char *raw, Py_ssize_t size) except NULL
    cdef int read(self, Cursor *part) except -1
    cdef int read_addons(self, Cursor *part) except -1
    cdef Sorted *sort(self, bint is_compact, int *size) except NULL
    cdef NumberRow *_add(self, OpenKey key) except NULL
    cdef int _rehash(self) except -1
    cdef int _merge_row(self, NumberRow *row, const NumberRow *other) except -1

cdef OpenKey key_of(tuple columns)
cdef AddonKeys addon_keys_at(Cursor *part)
cdef int read_addon_row(Cursor *part, long long latest_ms, NumberRow *row) except -1
cdef long long split_millionths(long long value, long long *millionths) noexcept
cdef int number_of_section(str name)  # -1 if it is of no family
cdef Bin *sort_bins(const Bins *bins) except NULL
