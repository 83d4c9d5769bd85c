"""`sample#name=quantity` pairs, and quantities with units ("21.22MB")."""

from __future__ import annotations

import re

SAMPLE = re.compile(rb"(?:^| )sample#([a-z0-9_]+)=([^\s]*)")

_QUANTITY = re.compile(rb"([0-9]{1,13})(?:\.([0-9]{1,9}))?([A-Za-z]{0,5})")


def hundredths(text: bytes) -> tuple[int, bytes] | None:
    """(hundredths, unit) of a quantity: b"21.22MB" is (2122, b"MB"). Further decimals round half
    up. At most 15 digits. None if it is none.
    """
    match = _QUANTITY.fullmatch(text)
    if not match:
        return None
    whole, decimals, unit = match.groups()
    value = int(whole) * 100
    if decimals:
        value += int(decimals[:2].ljust(2, b"0"))
        if decimals[2:3] >= b"5":
            value += 1
    return value, unit
