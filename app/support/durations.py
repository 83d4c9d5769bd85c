"""Durations as people write them: a number and its unit, such as 30s, 5m, 24h, 90d or 1w."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(text: str) -> int:
    """Parse a duration to seconds. A number without a unit is rejected: people mean hours by it
    where the code means seconds.

    Raises:
        ValueError: the text is not a duration above 0; it completes "expected …".
    """
    match = _DURATION.fullmatch(text)
    if match and int(match[1]):
        return int(match[1]) * _UNIT_S[match[2]]
    if text.isascii() and text.isdigit() and int(text):
        choices = ", ".join(text + unit for unit in _UNIT_S)
        raise ValueError(f"a duration with its unit: one of {choices}")
    raise ValueError("a duration such as 30s, 5m, 24h or 90d")
