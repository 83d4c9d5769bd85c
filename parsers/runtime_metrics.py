"""Parses the lines with a dyno's memory and load (labs feature log-runtime-metrics).

Every dyno logs two of them every 20 seconds:

    source=web.1 dyno=heroku.123.uuid sample#load_avg_1m=2.46 sample#load_avg_5m=1.06
        sample#load_avg_15m=0.99
    source=web.1 dyno=heroku.123.uuid sample#memory_total=21.00MB sample#memory_rss=21.22MB
        sample#memory_cache=0.00MB sample#memory_swap=0.00MB sample#memory_pgpgin=348836pages
        sample#memory_pgpgout=343403pages sample#memory_quota=512.00MB

Without the feature, a dyno logs its memory only while it exceeds the quota:

    Process running mem=870M(170.1%)

Format: Heroku Dev Center, "Log Runtime Metrics". Values become whole numbers without passing
through floats, so they are exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parsers.samples import Measurements, ParseError, RuntimeMetrics

_SAMPLE = re.compile(rb" sample#([a-z0-9_]+)=(\S*)")
_QUANTITY = re.compile(rb"([0-9]{1,13})(?:\.([0-9]{1,9}))?([A-Za-z]{0,5})")
_RUNNING = re.compile(rb"Process running mem=([0-9.]+[A-Za-z]+)\(([0-9.]+)%\)\s*")
_PAGES = re.compile(rb"([0-9]{1,15})(?:pages)?")
_MILLIONTHS = 1_000_000

# Bytes per unit. Heroku writes MB and means 2^20 bytes; memory is stored in hundredths of that. A
# quantity without a unit is rejected, since it could be in any.
_MEBIBYTE = 2**20
UNIT_BYTES = {
    b"MB": _MEBIBYTE,
    b"M": _MEBIBYTE,
    b"GB": 2**30,
    b"G": 2**30,
    b"kB": 2**10,
    b"KB": 2**10,
    b"K": 2**10,
    b"B": 1,
    b"bytes": 1,
}
_VALUE_MAX = 10**15 - 1  # 15 digits, as in the text of a quantity


def _parse_quantity(text: bytes) -> tuple[int, bytes] | None:
    """(hundredths, unit) of a quantity of at most 15 digits; None for anything else.

    b"21.22MB" is (2122, b"MB"). Further decimals round half up.
    """
    match = _QUANTITY.fullmatch(text)
    if not match:
        return None
    integer, decimals, unit = match.groups()
    hundredths = int(integer) * 100
    if decimals:
        hundredths += int(decimals[:2].ljust(2, b"0"))
        if decimals[2:3] >= b"5":
            hundredths += 1
    return hundredths, unit


def parse_memory(text: bytes) -> int | None:
    """Hundredths of an MB."""
    quantity = _parse_quantity(text)
    if quantity is None or quantity[1] not in UNIT_BYTES:
        return None
    hundredths_of_byte = quantity[0] * UNIT_BYTES[quantity[1]]
    value = (2 * hundredths_of_byte + _MEBIBYTE) // (2 * _MEBIBYTE)
    return value if value <= _VALUE_MAX else None


def parse_pages(text: bytes) -> int | None:
    """Pages."""
    match = _PAGES.fullmatch(text)
    return int(match[1]) if match else None


def parse_load(text: bytes) -> int | None:
    """Hundredths of a task."""
    quantity = _parse_quantity(text)
    return quantity[0] if quantity is not None and not quantity[1] else None


GAUGES: dict[bytes, tuple[str, Callable[[bytes], int | None]]] = {
    **{
        b"memory_" + name: (f"memory_{name.decode()}_bytes", parse_memory)
        for name in (b"total", b"rss", b"cache", b"swap", b"quota")
    },
    b"memory_pgpgin": ("memory_pgpgin_pages", parse_pages),
    b"memory_pgpgout": ("memory_pgpgout_pages", parse_pages),
    b"load_avg_1m": ("load_avg_1m", parse_load),
    b"load_avg_5m": ("load_avg_5m", parse_load),
    b"load_avg_15m": ("load_avg_15m", parse_load),
}
TOTAL = "memory_total_bytes"
QUOTA = "memory_quota_bytes"
USED_RATIO = "memory_quota_used_ratio"


def parse(source: str, text: bytes) -> RuntimeMetrics | None:
    """The metrics of the dyno `source` in a line; None if it has none of these gauges.

    An unreadable value is left out. The first occurrence of a name counts, because text that does
    not come from Heroku can only be appended.

    Raises:
        ParseError: the line has such metrics, but none is readable (reason "runtime").
    """
    values = _read_values(text)
    if not values:
        return None
    quota = values.get(QUOTA)
    if quota and TOTAL in values:
        ratio = _millionths(values[TOTAL], quota)
        if ratio <= _VALUE_MAX:
            values[USED_RATIO] = ratio
    return RuntimeMetrics(source, tuple(values.items()))


def parse_running(source: str, text: bytes) -> Measurements:
    """The memory of the dyno `source` in a line `Process running mem=870M(170.1%)`.

    Raises:
        ParseError: the line is incomplete or has another form (reason "runtime").
    """
    match = _RUNNING.fullmatch(text)
    memory = parse_memory(match[1]) if match else None
    percent = _parse_quantity(match[2]) if match else None
    if memory is None or percent is None:
        raise ParseError("runtime")
    ratio = percent[0] * (_MILLIONTHS // 10_000)  # from hundredths of a percent
    return Measurements(source, (("memory_running_bytes", memory), ("memory_running_ratio", ratio)))


def _read_values(text: bytes) -> dict[str, int]:
    values: dict[str, int] = {}
    has_gauge = False
    for name, quantity in _SAMPLE.findall(text):
        if name not in GAUGES:
            continue
        has_gauge = True
        gauge, parse_value = GAUGES[name]
        value = parse_value(quantity)
        if value is not None:
            values.setdefault(gauge, value)
    if has_gauge and not values:
        raise ParseError("runtime")
    return values


def _millionths(total: int, quota: int) -> int:
    """total / quota in millionths, rounded half up."""
    return (2 * total * _MILLIONTHS + quota) // (2 * quota)
