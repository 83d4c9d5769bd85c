"""`sample#name=quantity` pairs, and quantities with units ("21.22MB")."""

from __future__ import annotations

import re

SAMPLE = re.compile(rb"(?:^| )sample#([a-z0-9_]+)=([^\s]*)")

_QUANTITY = re.compile(rb"([0-9]{1,13})(?:\.([0-9]{1,9}))?([A-Za-z]{0,5})")

_DIGITS_MAX = 15


def hundredths(text: bytes) -> tuple[int, bytes] | None:
    """(hundredths, unit) of a quantity: b"21.22MB" is (2122, b"MB"). Further decimals round half
    up. None if it is none.
    """
    usual = text[:-5] + text[-4:-2]
    if text[-5:-4] == b"." and text[-2:] == b"MB" and usual.isdigit() and len(usual) <= _DIGITS_MAX:
        return int(usual), b"MB"
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
