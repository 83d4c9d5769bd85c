# What of app/hot/tables.pyx others read packed rollups with, too.

from app.hot.cells cimport Distribution, Reading
from app.hot.packed cimport Cursor

cdef Py_ssize_t read_bins(Cursor *part, Distribution cell) except -1
cdef int read_reading(Cursor *part, long long epoch, Reading *reading) except -1
cdef int whole_rows(Py_ssize_t numbers) except -1
