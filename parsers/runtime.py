"""Runtime-metrics lines (labs feature log-runtime-metrics): every 20 seconds two for each dyno.

    source=web.1 dyno=heroku.123.uuid sample#load_avg_1m=2.46 sample#load_avg_5m=1.06
    sample#load_avg_15m=0.99 source=web.1 dyno=heroku.123.uuid sample#memory_total=21.00MB …
    sample#memory_pgpgin=348836pages …

Format: Heroku Dev Center, "Log Runtime Metrics". Values are read into whole numbers without going
through floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parsers.logfmt import SAMPLE, hundredths
from parsers.sample import GAUGE_INDEX, ParseError, Readings

_PAGES = re.compile(rb"([0-9]{1,15})(?:pages)?")
_MILLIONTHS = 1_000_000

# Bytes of a unit. Heroku writes MB and means 2^20; the value is stored in hundredths of that.
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


def _memory(value: bytes) -> int | None:
    """Hundredths of a MB."""
    quantity = hundredths(value)
    if quantity is None or quantity[1] not in _UNIT_BYTES:
        return None
    if quantity[1] == b"MB":
        return quantity[0]
    scaled = quantity[0] * _UNIT_BYTES[quantity[1]]
    return (2 * scaled + _MEBIBYTE) // (2 * _MEBIBYTE)


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


# The usual memory line, read in one go; whatever differs from it is read name by name.
_USUAL_MEMORY_NAMES = (b"total", b"rss", b"cache", b"swap")
_USUAL_MEMORY = re.compile(
    rb"source=[^ ]+ dyno=[^ ]+"
    + b"".join(
        rb" sample#memory_%s=([0-9]{1,9})\.([0-9]{2})MB" % name for name in _USUAL_MEMORY_NAMES
    )
    + rb" sample#memory_pgpgin=([0-9]{1,15})pages sample#memory_pgpgout=([0-9]{1,15})pages"
    + rb" sample#memory_quota=([0-9]{1,9})\.([0-9]{2})MB\s*"
)
_PGPGIN = GAUGE_INDEX["memory_pgpgin_pages"]
_PGPGOUT = GAUGE_INDEX["memory_pgpgout_pages"]
_RSS = GAUGE_INDEX["memory_rss_bytes"]
_CACHE = GAUGE_INDEX["memory_cache_bytes"]
_SWAP = GAUGE_INDEX["memory_swap_bytes"]


def parse(source: str, text: bytes) -> Readings | None:
    """What the line says of the dyno `source`; None when it has none of the metrics we know.

    A value that cannot be read is left out; of a repeated name the first counts.
    Raises:
        ParseError: it has such metrics and none can be read (reason "runtime").
    """
    if match := _USUAL_MEMORY.fullmatch(text):
        return Readings(source, _usual_memory(match.groups()))
    values: dict[int, int] = {}
    known = False
    for name, written in SAMPLE.findall(text):
        gauge = _GAUGES.get(name)
        if gauge is None:
            continue
        known = True
        index, read = gauge
        value = read(written)
        if value is not None:
            values.setdefault(index, value)
    if not values:
        if known:
            raise ParseError("runtime")
        return None
    quota = values.get(_QUOTA)
    if quota and _TOTAL in values:
        values[_USED_RATIO] = _ratio(values[_TOTAL], quota)
    return Readings(source, tuple(values.items()))


def _usual_memory(digits: tuple[bytes, ...]) -> tuple[tuple[int, int], ...]:
    total_mb, total, rss_mb, rss, cache_mb, cache, swap_mb, swap, pgpgin, pgpgout, mb, rest = digits
    used, quota = int(total_mb + total), int(mb + rest)
    values = (
        (_TOTAL, used),
        (_RSS, int(rss_mb + rss)),
        (_CACHE, int(cache_mb + cache)),
        (_SWAP, int(swap_mb + swap)),
        (_QUOTA, quota),
        (_PGPGIN, int(pgpgin)),
        (_PGPGOUT, int(pgpgout)),
    )
    return (*values, (_USED_RATIO, _ratio(used, quota))) if quota else values


def _ratio(used: int, quota: int) -> int:
    """Millionths, rounded half up."""
    return (2 * used * _MILLIONTHS + quota) // (2 * quota)
