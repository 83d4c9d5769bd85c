# What of app/query/_table.pyx others read packed rollups with, too.

from app.query._stats cimport Distribution, GaugeSummary
from app.rollup._msgpack cimport Cursor

cdef Py_ssize_t read_bins(Cursor *part, Distribution cell) except -1
cdef int read_reading(Cursor *part, long long epoch, GaugeSummary *reading) except -1
cdef int whole_rows(Py_ssize_t numbers) except -1
