"""Runtime-metrics lines (labs feature log-runtime-metrics): every 20 seconds two for each dyno.

    source=web.1 dyno=heroku.123.uuid sample#load_avg_1m=2.46 sample#load_avg_5m=1.06
        sample#load_avg_15m=0.99
    source=web.1 dyno=heroku.123.uuid sample#memory_total=21.00MB sample#memory_rss=21.22MB
        sample#memory_cache=0.00MB sample#memory_swap=0.00MB sample#memory_pgpgin=348836pages
        sample#memory_pgpgout=343403pages sample#memory_quota=512.00MB

Format: Heroku Dev Center, "Log Runtime Metrics". Values are read into whole numbers without going
through floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parsers.logfmt import SAMPLE, hundredths
from parsers.metrics import GAUGE_INDEX
from parsers.samples import ParseError, RuntimeMetrics

_PAGES = re.compile(rb"([0-9]{1,15})(?:pages)?")
_MILLIONTHS = 1_000_000

# Bytes of a unit. Heroku writes MB and means 2^20; the value is stored in hundredths of that. No
# unit is not among them: it could stand for any.
_MEBIBYTE = 2**20
_UNIT_BYTES = {
    b"MB": _MEBIBYTE,
    b"M": _MEBIBYTE,
    b"GB": 2**30,
    b"kB": 2**10,
    b"KB": 2**10,
    b"B": 1,
    b"bytes": 1,
}
_STORED_MAX = 10**15 - 1  # as many digits as a value may be written with


def _memory(value: bytes) -> int | None:
    """Hundredths of a MB."""
    quantity = hundredths(value)
    if quantity is None or quantity[1] not in _UNIT_BYTES:
        return None
    if quantity[1] == b"MB":
        return quantity[0]
    scaled = quantity[0] * _UNIT_BYTES[quantity[1]]
    stored = (2 * scaled + _MEBIBYTE) // (2 * _MEBIBYTE)
    return stored if stored <= _STORED_MAX else None


def _pages(value: bytes) -> int | None:
    match = _PAGES.fullmatch(value)
    return int(match[1]) if match else None


def _load(value: bytes) -> int | None:
    """Hundredths."""
    quantity = hundredths(value)
    return quantity[0] if quantity is not None and not quantity[1] else None


_GAUGES: dict[bytes, tuple[int, Callable[[bytes], int | None]]] = {
    **{
        b"memory_" + name: (GAUGE_INDEX[f"memory_{name.decode()}_bytes"], _memory)
        for name in (b"total", b"rss", b"cache", b"swap", b"quota")
    },
    b"memory_pgpgin": (GAUGE_INDEX["memory_pgpgin_pages"], _pages),
    b"memory_pgpgout": (GAUGE_INDEX["memory_pgpgout_pages"], _pages),
    b"load_avg_1m": (GAUGE_INDEX["load_avg_1m"], _load),
    b"load_avg_5m": (GAUGE_INDEX["load_avg_5m"], _load),
    b"load_avg_15m": (GAUGE_INDEX["load_avg_15m"], _load),
}
_TOTAL = GAUGE_INDEX["memory_total_bytes"]
_QUOTA = GAUGE_INDEX["memory_quota_bytes"]
_USED_RATIO = GAUGE_INDEX["memory_quota_used_ratio"]


def _usual_line(*samples: tuple[str, bytes]) -> tuple[re.Pattern[bytes], tuple[int, ...]]:
    """A pattern for a whole line of these samples, and the gauge of each of its groups."""
    pattern = rb"source=[^ ]+ dyno=[^ ]+" + b"".join(written for _, written in samples) + rb"\s*"
    return re.compile(pattern), tuple(GAUGE_INDEX[name] for name, _ in samples)


# The two lines as Heroku writes them are read in one go: two decimals, so that without the point
# they are hundredths. Whatever differs from them is read name by name.
_USUAL_LINES = (
    _usual_line(
        ("memory_total_bytes", rb" sample#memory_total=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_rss_bytes", rb" sample#memory_rss=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_cache_bytes", rb" sample#memory_cache=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_swap_bytes", rb" sample#memory_swap=([0-9]{1,9}\.[0-9]{2})MB"),
        ("memory_pgpgin_pages", rb" sample#memory_pgpgin=([0-9]{1,15})pages"),
        ("memory_pgpgout_pages", rb" sample#memory_pgpgout=([0-9]{1,15})pages"),
        ("memory_quota_bytes", rb"(?: sample#memory_quota=([0-9]{1,9}\.[0-9]{2})MB)?"),
    ),
    _usual_line(
        ("load_avg_1m", rb" sample#load_avg_1m=([0-9]{1,9}\.[0-9]{2})"),
        ("load_avg_5m", rb" sample#load_avg_5m=([0-9]{1,9}\.[0-9]{2})"),
        ("load_avg_15m", rb" sample#load_avg_15m=([0-9]{1,9}\.[0-9]{2})"),
    ),
)


def parse(source: str, text: bytes) -> RuntimeMetrics | None:
    """What the line says of the dyno `source`; None when it has none of the metrics we know.

    A value that cannot be read is left out. Of a repeated name the first counts: what did not come
    from Heroku could only have been appended.

    Raises:
        ParseError: it has such metrics and none can be read (reason "runtime").
    """
    values = _usual_values(text) or _values_by_name(text)
    if not values:
        return None
    quota = values.get(_QUOTA)
    if quota and _TOTAL in values:
        used = _millionths(values[_TOTAL], quota)
        if used <= _STORED_MAX:
            values[_USED_RATIO] = used
    return RuntimeMetrics(source, tuple(values.items()))


def _usual_values(text: bytes) -> dict[int, int] | None:
    for line, gauges in _USUAL_LINES:
        if match := line.fullmatch(text):
            return {
                gauge: int(written.replace(b".", b""))
                for gauge, written in zip(gauges, match.groups(), strict=True)
                if written
            }
    return None


def _values_by_name(text: bytes) -> dict[int, int]:
    values: dict[int, int] = {}
    known = False
    for name, written in SAMPLE.findall(text):
        if name not in _GAUGES:
            continue
        known = True
        index, read = _GAUGES[name]
        value = read(written)
        if value is not None:
            values.setdefault(index, value)
    if known and not values:
        raise ParseError("runtime")
    return values


def _millionths(used: int, quota: int) -> int:
    """Rounded half up."""
    return (2 * used * _MILLIONTHS + quota) // (2 * quota)
