# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What dynos said last (app.query.latest_gauges), read byte by byte. What is not exactly as app.rollup.codec writes it
is a PackError, and app.query.latest_gauges has to be asked instead.
"""

from libc.string cimport memset

from app.query._stats cimport GaugeSummary
from app.rollup._msgpack cimport (
    FIELD_COUNT, Cursor, array, below, binary, not_negative, number, skip_extensions, text,
)
from app.query._table cimport read_reading

from app.rollup import codec as packing
from app.query.latest_gauges import LatestGauges
from app.rollup.codec import PackError
from parsers.metrics import GAUGES as GAUGE_TABLE

cdef enum:
    GAUGES = 11  # of parsers.samples
    MINUTES_OF_HOUR = 60
    SECTIONS = 8
    OF_GAUGES = 5  # among them
    MINUTES = 6

cdef int VERSION = packing.VERSION
assert len(GAUGE_TABLE) == GAUGES and len(packing.SECTIONS) == SECTIONS
assert packing.SECTIONS.index("gauges") == OF_GAUGES and packing.SECTIONS.index("active_minutes") == MINUTES


cdef class Dyno:
    """What a source said last, and when; -1 for a gauge of which it said nothing."""

    cdef str name
    cdef bint heard
    cdef long long at_ms[GAUGES]
    cdef long long last[GAUGES]

    def __cinit__(self, str name):
        self.name = name
        memset(self.at_ms, 0xFF, sizeof(self.at_ms))


def latest_gauges(packed):
    """See app.query.latest_gauges.

    Raises:
        PackError: some of it is not exactly as `pack` writes it.
    """
    cdef dict dynos = {}
    cdef Dyno dyno
    cdef int gauge
    try:
        for data in packed:
            _read(dynos, data)
    except ValueError as error:
        raise PackError(str(error)) from None
    last = {}
    for dyno in dynos.values():
        for gauge in range(GAUGES):
            if dyno.at_ms[gauge] >= 0:
                last[dyno.name, gauge] = dyno.last[gauge]
    return LatestGauges(last, {dyno.name for dyno in dynos.values() if dyno.heard})


cdef int _read(dict dynos, bytes packed) except -1:
    cdef Cursor rollup, part
    cdef list names
    cdef int section
    cdef Py_ssize_t _
    rollup.at = packed
    rollup.end = rollup.at + len(packed)
    part = rollup
    if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
        raise ValueError("another format")
    not_negative(&rollup)
    names = [_dyno(dynos, &rollup) for _ in range(array(&rollup))]
    for section in range(SECTIONS):
        binary(&rollup, &part)
        if section == OF_GAUGES:
            _read_gauges(&part, names)
        elif section == MINUTES:
            _read_minutes(&part, names)
    skip_extensions(&rollup)
    if rollup.at != rollup.end:
        raise ValueError("more than a rollup")
    return 0


cdef Dyno _dyno(dict dynos, Cursor *names):
    cdef Cursor part = names[0]
    text(names, &part)
    name = part.at[: part.end - part.at]
    found = dynos.get(name)
    if found is None:
        found = dynos[name] = Dyno(name.decode())
    return found


cdef int _read_gauges(Cursor *part, list names) except -1:
    cdef Py_ssize_t numbers = array(part)
    cdef Dyno dyno
    cdef GaugeSummary reading
    cdef int gauge
    cdef long long epoch
    if not numbers:
        return _whole(part, 0)
    epoch = not_negative(part)
    numbers -= 1
    while numbers > 0:
        dyno = <Dyno>names[below(part, len(names))]
        gauge = below(part, GAUGES)
        read_reading(part, epoch, &reading)
        if reading.last_at_ms > dyno.at_ms[gauge] or (
            reading.last_at_ms == dyno.at_ms[gauge] and reading.last > dyno.last[gauge]
        ):
            dyno.at_ms[gauge] = reading.last_at_ms
            dyno.last[gauge] = reading.last
        numbers -= 8
    return _whole(part, numbers)


cdef int _read_minutes(Cursor *part, list names) except -1:
    cdef Py_ssize_t numbers = array(part)
    cdef Dyno dyno
    cdef unsigned long long shifted
    cdef int first
    while numbers > 0:
        dyno = <Dyno>names[below(part, len(names))]
        first = below(part, MINUTES_OF_HOUR)
        shifted = not_negative(part)
        if not shifted or shifted >> (MINUTES_OF_HOUR - first):
            raise ValueError("minutes outside the hour")
        dyno.heard = True
        numbers -= 3
    return _whole(part, numbers)


cdef int _whole(Cursor *part, Py_ssize_t numbers) except -1:
    """What a section was said to hold is what it holds."""
    if numbers or part.at != part.end:
        raise ValueError("not whole rows")
    return 0
