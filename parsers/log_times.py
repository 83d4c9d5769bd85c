"""Reads the times that log services and syslog programs write into their files.

    2026-11-22T10:00:00.123456+00:00    RFC 3339, as Heroku writes it
    2026-11-22 10:00:00 -0800           Papertrail archives
    2026-11-22T10:00:00                 newer Papertrail archives, which are in UTC
    Nov 22 10:00:00                     syslog programs and Papertrail's viewer (RFC 3164)

A time without a zone is read as UTC. A time without a year is in the last year that does not put
it into the future.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from parsers.samples import ParseError
from parsers.syslog_header import parse_timestamp_ms

_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_CLOCK = rb"([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
TIME = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]" + _CLOCK + rb"(?: ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
    rb"|(" + b"|".join(_MONTHS) + rb") {1,2}([0-9]{1,2}),?(?: ([0-9]{4}),?)? " + _CLOCK
)
_DAY_MS = 86_400_000
_YEARS_BACK = 8  # from one February 29 to the one before, also around 1900 and 2100
_EPOCH_UNITS = ((10**17, 10**6), (10**14, 10**3))  # from this number on, so many to a millisecond


def parse_time_ms(match: re.Match[bytes], latest_ms: int) -> int:
    """Unix milliseconds of a match of TIME.

    Args:
        latest_ms: about the latest possible time, for times without a year.

    Raises:
        ParseError: there is no such time (reason "timestamp").
    """
    date, clock, fraction, zone, month, day, year, month_clock, month_fraction = match.groups()
    if month is not None:
        clock, fraction = month_clock, month_fraction
        date = _date(month, int(day), int(year or 0), latest_ms // _DAY_MS)
    if zone in (None, b"Z", b"UTC"):
        zone = b"+00:00"
    elif len(zone) == 5:
        zone = zone[:3] + b":" + zone[3:]
    return parse_timestamp_ms(b"%sT%s.%s%s" % (date, clock, fraction or b"0", zone))


def is_complete(match: re.Match[bytes]) -> bool:
    """Whether the time of a match names its year and its zone."""
    return match[4] is not None


def parse_number_ms(number: float) -> int:
    """Unix milliseconds of a number that counts seconds, milli-, micro- or nanoseconds."""
    for least, per_ms in _EPOCH_UNITS:
        if number >= least:
            return int(number / per_ms)
    return int(number) if number >= 10**11 else int(number * 1000)


@lru_cache(maxsize=1024)
def _date(month: bytes, day: int, year: int, latest_day: int) -> bytes:
    latest = datetime.fromtimestamp((latest_day + 1) * 86_400, UTC)
    years = (year,) if year else range(latest.year, latest.year - _YEARS_BACK, -1)
    for candidate in years:
        try:
            moment = datetime(candidate, _MONTHS.index(month) + 1, day, tzinfo=UTC)
        except ValueError:
            continue
        if year or moment <= latest:
            return f"{moment:%Y-%m-%d}".encode()
    raise ParseError("timestamp")
