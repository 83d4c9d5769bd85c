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

SAMPLE_PAIR = re.compile(rb"(?:^| )sample#([a-z0-9_]+)=([^\s]*)")
_QUANTITY = re.compile(rb"([0-9]{1,13})(?:\.([0-9]{1,9}))?([A-Za-z]{0,5})")
_RUNNING = re.compile(rb"Process running mem=([0-9.]+[A-Za-z]+)\(([0-9.]+)%\)\s*")
_PAGES = re.compile(rb"([0-9]{1,15})(?:pages)?")
_MILLIONTHS = 1_000_000

# Bytes per unit. Heroku writes MB and means 2^20 bytes; memory is stored in hundredths of that. A
# quantity without a unit is rejected, since it could be in any.
_MEBIBYTE = 2**20
_UNIT_BYTES = {
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


def _parse_memory(text: bytes) -> int | None:
    """Hundredths of an MB."""
    quantity = _parse_quantity(text)
    if quantity is None or quantity[1] not in _UNIT_BYTES:
        return None
    if quantity[1] == b"MB":
        return quantity[0]
    hundredths_of_byte = quantity[0] * _UNIT_BYTES[quantity[1]]
    value = (2 * hundredths_of_byte + _MEBIBYTE) // (2 * _MEBIBYTE)
    return value if value <= _VALUE_MAX else None


def _parse_pages(text: bytes) -> int | None:
    match = _PAGES.fullmatch(text)
    return int(match[1]) if match else None


def _parse_load(text: bytes) -> int | None:
    """Hundredths of a task."""
    quantity = _parse_quantity(text)
    return quantity[0] if quantity is not None and not quantity[1] else None


_GAUGES: dict[bytes, tuple[str, Callable[[bytes], int | None]]] = {
    **{
        b"memory_" + name: (f"memory_{name.decode()}_bytes", _parse_memory)
        for name in (b"total", b"rss", b"cache", b"swap", b"quota")
    },
    b"memory_pgpgin": ("memory_pgpgin_pages", _parse_pages),
    b"memory_pgpgout": ("memory_pgpgout_pages", _parse_pages),
    b"load_avg_1m": ("load_avg_1m", _parse_load),
    b"load_avg_5m": ("load_avg_5m", _parse_load),
    b"load_avg_15m": ("load_avg_15m", _parse_load),
}
_TOTAL = "memory_total_bytes"
_QUOTA = "memory_quota_bytes"
_USED_RATIO = "memory_quota_used_ratio"


def _common_line(*samples: tuple[str, bytes]) -> tuple[re.Pattern[bytes], tuple[str, ...]]:
    """A pattern for a whole line of these samples, and the gauge of each of its groups."""
    pattern = rb"source=[^ ]+ dyno=[^ ]+" + b"".join(sample for _, sample in samples) + rb"\s*"
    return re.compile(pattern), tuple(name for name, _ in samples)


# The two lines as Heroku writes them are read with one pattern each, for speed. Their numbers have
# two decimals, so without the point they are hundredths. Any other line is read name by name.
_COMMON_LINES = (
    _common_line(
        ("memory_total_bytes", rb" sample#memory_total=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_rss_bytes", rb" sample#memory_rss=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_cache_bytes", rb" sample#memory_cache=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_swap_bytes", rb" sample#memory_swap=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_pgpgin_pages", rb" sample#memory_pgpgin=([0-9]{1,15})pages"),
        ("memory_pgpgout_pages", rb" sample#memory_pgpgout=([0-9]{1,15})pages"),
        ("memory_quota_bytes", rb"(?: sample#memory_quota=([0-9]{1,9}\.[0-9]{2})MB)?"),
    ),
    _common_line(
        ("load_avg_1m", rb" sample#load_avg_1m=([0-9]{1,9}\.[0-9]{2})"),
        ("load_avg_5m", rb" sample#load_avg_5m=([0-9]{1,9}\.[0-9]{2})"),
        ("load_avg_15m", rb" sample#load_avg_15m=([0-9]{1,9}\.[0-9]{2})"),
    ),
)


def parse(source: str, text: bytes) -> RuntimeMetrics | None:
    """The metrics of the dyno `source` in a line; None if it has none of these gauges.

    An unreadable value is left out. The first occurrence of a name counts, because text that does
    not come from Heroku can only be appended.

    Raises:
        ParseError: the line has such metrics, but none is readable (reason "runtime").
    """
    values = _read_common_line(text) or _read_by_name(text)
    if not values:
        return None
    quota = values.get(_QUOTA)
    if quota and _TOTAL in values:
        ratio = _millionths(values[_TOTAL], quota)
        if ratio <= _VALUE_MAX:
            values[_USED_RATIO] = ratio
    return RuntimeMetrics(source, tuple(values.items()))


def parse_running(source: str, text: bytes) -> Measurements:
    """The memory of the dyno `source` in a line `Process running mem=870M(170.1%)`.

    Raises:
        ParseError: the line is incomplete or has another form (reason "runtime").
    """
    match = _RUNNING.fullmatch(text)
    memory = _parse_memory(match[1]) if match else None
    percent = _parse_quantity(match[2]) if match else None
    if memory is None or percent is None:
        raise ParseError("runtime")
    ratio = percent[0] * (_MILLIONTHS // 10_000)  # from hundredths of a percent
    return Measurements(source, (("memory_running_bytes", memory), ("memory_running_ratio", ratio)))


def _read_common_line(text: bytes) -> dict[str, int] | None:
    for pattern, gauges in _COMMON_LINES:
        if match := pattern.fullmatch(text):
            return {
                gauge: int(number.replace(b".", b""))
                for gauge, number in zip(gauges, match.groups(), strict=True)
                if number
            }
    return None


def _read_by_name(text: bytes) -> dict[str, int]:
    values: dict[str, int] = {}
    has_gauge = False
    for name, quantity in SAMPLE_PAIR.findall(text):
        if name not in _GAUGES:
            continue
        has_gauge = True
        gauge, parse_value = _GAUGES[name]
        value = parse_value(quantity)
        if value is not None:
            values.setdefault(gauge, value)
    if has_gauge and not values:
        raise ParseError("runtime")
    return values


def _millionths(total: int, quota: int) -> int:
    """total / quota in millionths, rounded half up."""
    return (2 * total * _MILLIONTHS + quota) // (2 * quota)
