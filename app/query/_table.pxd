# Readers of app/query/_table.pyx that other modules share.

from app.query._stats cimport Distribution, GaugeSummary
from app.rollup._msgpack cimport Cursor

cdef Py_ssize_t read_bins(Cursor *part, Distribution cell) except -1
cdef int read_gauge_summary(Cursor *part, long long epoch, GaugeSummary *summary) except -1
cdef int require_whole_rows(Py_ssize_t numbers) except -1
