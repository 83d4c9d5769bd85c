"""Numbers with a fraction and a unit, as Heroku's add-ons and l2met write them: 12.5ms, 31328356kB.

They become whole millionths without passing through floats, so sums are exact. Times are converted
to milliseconds and sizes to bytes: `12ms` and `0.012s` are numbers of one metric. Any other unit
stays as it is written.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MILLION = 1_000_000
NUMBER_LIMIT = 9_000_000_000_000  # the largest number: as millionths it has less than 63 bits
MS, BYTES = "ms", "bytes"

_QUANTITY = re.compile(
    rb"([+-]?)([0-9]{1,30})(?:\.([0-9]{0,30}))?(?:[eE]([+-]?[0-9]{1,2}))?([A-Za-z%/]{0,16})"
)


class Unit(NamedTuple):
    """The unit that numbers are stored in, and what one of the written unit is in it.

    That is factor × 10 ** exponent.
    """

    name: str
    factor: int
    exponent: int


_UNITS = {
    b"s": Unit(MS, 1, 3),
    b"ms": Unit(MS, 1, 0),
    b"us": Unit(MS, 1, -3),
    b"ns": Unit(MS, 1, -6),
    **dict.fromkeys((b"bytes", b"byte", b"B"), Unit(BYTES, 1, 0)),
    **dict.fromkeys((b"kB", b"KB", b"KiB"), Unit(BYTES, 2**10, 0)),  # Heroku's kB has 1,024 bytes
    **dict.fromkeys((b"MB", b"MiB"), Unit(BYTES, 2**20, 0)),
    **dict.fromkeys((b"GB", b"GiB"), Unit(BYTES, 2**30, 0)),
    **dict.fromkeys((b"TB", b"TiB"), Unit(BYTES, 2**40, 0)),
}


class Quantity(NamedTuple):
    """A number and its unit.

    Attributes:
        millionths: the number, rounded half away from zero.
        number: the same as a float, not rounded to millionths.
        unit: MS for times, BYTES for sizes, else as it is written; "" for none.
    """

    millionths: int
    number: float
    unit: str


def unit_of(text: bytes) -> Unit:
    """The unit for a written unit."""
    return _UNITS.get(text) or Unit(text.decode(), 1, 0)


def parse_quantity(text: bytes) -> Quantity | None:
    """Parse a number and its unit; None for anything else, and beyond NUMBER_LIMIT."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    sign, integer, decimals, power, written_unit = match.groups()
    decimals = decimals or b""
    unit, factor, unit_exponent = unit_of(written_unit)
    exponent = int(power or b"0") - len(decimals) + unit_exponent
    digits: int = int(integer + decimals) * factor
    millionths = _shift(digits, exponent + 6)
    if millionths > NUMBER_LIMIT * MILLION:
        return None
    number = float(f"{digits}e{exponent}")
    return (
        Quantity(-millionths, -number, unit) if sign == b"-" else Quantity(millionths, number, unit)
    )


def quantity_of(number: float) -> Quantity | None:
    """A number without a unit; None beyond NUMBER_LIMIT."""
    if isinstance(number, int):  # read as fast as possible, since most are
        is_allowed = -NUMBER_LIMIT <= number <= NUMBER_LIMIT
        return Quantity(number * MILLION, float(number), "") if is_allowed else None
    return parse_quantity(repr(number).encode())


def _shift(digits: int, exponent: int) -> int:
    """digits × 10 ** exponent, rounded half up."""
    if exponent >= 0:
        return digits * int(10**exponent)
    divisor = int(10**-exponent)
    return (2 * digits + divisor) // (2 * divisor)
