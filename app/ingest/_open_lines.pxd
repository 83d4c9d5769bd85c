# The C interface of app/ingest/_open_lines.pyx, so that other extension modules call it without Python.

from app.ingest._text cimport Text
from app.rollup._rollup cimport FastRollup

cdef int add_addon_line(FastRollup rollup, parse, Text text, long long at_ms) except -1
cdef int add_marks(FastRollup rollup, const Text *procid, Text text, long long at_ms) except -1
