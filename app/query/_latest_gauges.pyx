# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.query.latest_gauges: reads packed rollups byte by byte.

Bytes that differ from what app.rollup.codec writes raise a PackError. The caller then falls back to
app.query.latest_gauges, which defines the result.
"""

from libc.string cimport memset

from app.query._stats cimport GaugeSummary
from app.rollup._msgpack cimport FIELD_COUNT, Cursor, array, below, binary, skip_extensions, not_negative, number, text
from app.query._table cimport read_gauge_summary

from app.rollup import codec as packing
from app.query.latest_gauges import LatestGauges
from app.rollup.codec import PackError
from app.rollup.schema import CORE_GAUGES, CORE_SECTIONS

cdef enum:
    GAUGES = 11
    MINUTES_PER_HOUR = 60
    SECTIONS = 8
    GAUGE_SECTION = 5  # positions of two sections
    MINUTES = 6

cdef int VERSION = packing.VERSION
assert len(CORE_GAUGES) == GAUGES and len(CORE_SECTIONS) == SECTIONS
assert CORE_SECTIONS[GAUGE_SECTION].name == "gauges"
assert CORE_SECTIONS[MINUTES].name == "active_minutes"


cdef class Dyno:
    """A source's latest values and their times. The time is -1 for a gauge without readings."""

    cdef str name
    cdef bint is_active
    cdef long long at_ms[GAUGES]
    cdef long long last[GAUGES]

    def __cinit__(self, str name):
        self.name = name
        memset(self.at_ms, 0xFF, sizeof(self.at_ms))


def latest_gauges(packed_rollups):
    """Merge packed rollups of one app and take the latest values.

    Raises:
        PackError: the bytes differ from what `pack` writes.
    """
    cdef dict dynos = {}
    cdef Dyno dyno
    cdef int gauge
    try:
        for data in packed_rollups:
            _read(dynos, data)
    except ValueError as error:
        raise PackError(str(error)) from None
    last = {}
    for dyno in dynos.values():
        for gauge in range(GAUGES):
            if dyno.at_ms[gauge] >= 0:
                last[dyno.name, gauge] = dyno.last[gauge]
    return LatestGauges(last, {dyno.name for dyno in dynos.values() if dyno.is_active})


cdef int _read(dict dynos, bytes data) except -1:
    cdef Cursor rollup, part
    cdef list names
    cdef int section
    cdef Py_ssize_t _
    rollup.at = data
    rollup.end = rollup.at + len(data)
    part = rollup
    if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
        raise ValueError("another format")
    not_negative(&rollup)
    names = [_dyno(dynos, &rollup) for _ in range(array(&rollup))]
    for section in range(SECTIONS):
        binary(&rollup, &part)
        if section == GAUGE_SECTION:
            _read_gauges(&part, names)
        elif section == MINUTES:
            _read_minutes(&part, names)
    skip_extensions(&rollup, b"named_gauges")
    if rollup.at != rollup.end:
        raise ValueError("more than a rollup")
    return 0


cdef Dyno _dyno(dict dynos, Cursor *names):
    cdef Cursor part = names[0]
    text(names, &part)
    name = part.at[: part.end - part.at]
    dyno = dynos.get(name)
    if dyno is None:
        dyno = dynos[name] = Dyno(name.decode())
    return dyno


cdef int _read_gauges(Cursor *part, list names) except -1:
    cdef Py_ssize_t numbers = array(part)
    cdef Dyno dyno
    cdef GaugeSummary summary
    cdef int gauge
    cdef long long epoch
    if not numbers:
        return _require_whole_rows(part, 0)
    epoch = not_negative(part)
    numbers -= 1
    while numbers > 0:
        dyno = <Dyno>names[below(part, len(names))]
        gauge = below(part, GAUGES)
        read_gauge_summary(part, epoch, &summary)
        if summary.last_at_ms > dyno.at_ms[gauge] or (
            summary.last_at_ms == dyno.at_ms[gauge] and summary.last > dyno.last[gauge]
        ):
            dyno.at_ms[gauge] = summary.last_at_ms
            dyno.last[gauge] = summary.last
        numbers -= 8
    return _require_whole_rows(part, numbers)


cdef int _read_minutes(Cursor *part, list names) except -1:
    cdef Py_ssize_t numbers = array(part)
    cdef Dyno dyno
    cdef unsigned long long shifted
    cdef int first
    while numbers > 0:
        dyno = <Dyno>names[below(part, len(names))]
        first = below(part, MINUTES_PER_HOUR)
        shifted = not_negative(part)
        if not shifted or shifted >> (MINUTES_PER_HOUR - first):
            raise ValueError("minutes outside the hour")
        dyno.is_active = True
        numbers -= 3
    return _require_whole_rows(part, numbers)


cdef int _require_whole_rows(Cursor *part, Py_ssize_t numbers) except -1:
    """Raise a ValueError unless the section ends exactly after its rows."""
    if numbers or part.at != part.end:
        raise ValueError("not whole rows")
    return 0
