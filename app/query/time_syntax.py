"""Parses times as users write them in a query."""

from __future__ import annotations

import re
from datetime import UTC, datetime

ACCEPTED_TIMES = "RFC 3339, Unix seconds, Unix milliseconds, now, or now-6h (s, m, h, d)"

_MILLISECONDS_FROM = 10**11  # as seconds, 10^11 is the year 5138
_RELATIVE = re.compile(r"now(?:([+-])([0-9]{1,9})([smhd]))?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_PLUS_AS_SPACE = re.compile(r"(T[0-9:.]+) ([0-9]{2}:[0-9]{2})")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_time(text: str, now_s: float) -> float:
    """Parse a time to Unix seconds. A time without a zone is UTC.

    The "+" of a zone may have become a space, because the URL did not percent-encode it.

    Raises:
        ValueError: the text has none of the forms in ACCEPTED_TIMES.
    """
    if relative := _RELATIVE.fullmatch(text):
        sign, amount, unit = relative.groups()
        if amount is None:
            return now_s
        seconds = int(amount) * _UNIT_S[unit]
        return now_s + seconds if sign == "+" else now_s - seconds
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number / 1000 if number >= _MILLISECONDS_FROM else number
    try:
        moment = datetime.fromisoformat(_PLUS_AS_SPACE.sub(r"\1+\2", text))
    except ValueError:
        raise ValueError(f"expected {ACCEPTED_TIMES}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
