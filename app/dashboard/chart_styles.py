"""Gives process types, error codes, dynos and add-ons their style in charts: the name of a color.

A name keeps its style in all charts of a page, in every range, whatever else is shown. The colors
themselves are in app/web/static/charts.css, where each family has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zlib import crc32

_TYPE_STYLES = 8
_CODE_STYLES = 7
DYNO_STYLES = 8
_TYPES = {"web": 0, "worker": 1}
_CODES = {"H10": 0, "H12": 1, "R14": 2, "R15": 3, "H13": 4}


def style_types(names: Iterable[str]) -> dict[str, str]:
    """The style of each process type: t0 to t7."""
    return _assign(names, "t", _TYPE_STYLES, _TYPES)


def style_codes(codes: Iterable[str]) -> dict[str, str]:
    """The style of each error code: r0 to r6, all of them reds."""
    return _assign(codes, "r", _CODE_STYLES, _CODES)


def style_sources(names: Iterable[str]) -> dict[str, str]:
    """The style of each add-on, or of each source of a metric: d0 to d7."""
    return _assign(names, "d", DYNO_STYLES, {})


def _assign(
    names: Iterable[str], family: str, size: int, usual: Mapping[str, int]
) -> dict[str, str]:
    """Well-known names have fixed styles. The others take the one of their checksum, or the next
    one that is free.
    """
    usual_first = sorted(set(names), key=lambda name: (name not in usual, name))
    used_numbers: set[int] = set()
    styles = {}
    for name in usual_first:
        first = usual.get(name, crc32(name.encode()) % size)
        candidates = [(first + offset) % size for offset in range(size)]
        number = next((number for number in candidates if number not in used_numbers), first)
        used_numbers.add(number)
        styles[name] = f"{family}{number}"
    return styles
