"""Numbers with a unit become exact whole millionths, whatever their form."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.numbers import MILLION, NUMBER_LIMIT, parse_quantity, quantity_of


@pytest.mark.parametrize(
    ("text", "millionths", "unit"),
    [
        ("1", 1_000_000, ""),
        ("0", 0, ""),
        ("007.50", 7_500_000, ""),
        ("5.", 5_000_000, ""),
        ("-3.25", -3_250_000, ""),
        ("+2", 2_000_000, ""),
        ("0.0000005", 1, ""),
        ("-0.0000005", -1, ""),
        ("0.00000049", 0, ""),
        ("1e-5", 10, ""),
        ("1.5E3", 1_500_000_000, ""),
        ("12.5ms", 12_500_000, "ms"),
        ("0.0125s", 12_500_000, "ms"),
        ("12500us", 12_500_000, "ms"),
        ("1ns", 1, "ms"),
        ("2e-3ms", 2_000, "ms"),
        ("15664876.0kB", 15_664_876 * 1024 * MILLION, "bytes"),
        ("1.5GB", 3 * 2**29 * MILLION, "bytes"),
        ("3B", 3 * MILLION, "bytes"),
        ("8945836.0bytes", 8_945_836 * MILLION, "bytes"),
        ("42jobs", 42 * MILLION, "jobs"),
        ("5%", 5 * MILLION, "%"),
        ("3req/s", 3 * MILLION, "req/s"),
        ("5M", 5 * MILLION, "M"),
        (str(NUMBER_LIMIT), NUMBER_LIMIT * MILLION, ""),
        ("0e99", 0, ""),
    ],
)
def test_a_number_and_its_unit(text: str, millionths: int, unit: str) -> None:
    quantity = parse_quantity(text.encode())
    assert quantity is not None
    assert (quantity.millionths, quantity.unit) == (millionths, unit)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", ".5", "ms", "1 ms", "1.2.3", "1,5", "--1", "nan", "inf", "0x1f", "1é", "٣"),
        *("9000000000001", "-9000000000001", "9000000001s", "9e99", "1e999"),
        *("1" + "0" * 31, "1" + "x" * 17),
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_quantity(text.encode()) is None


@given(st.decimals(-1_000_000_000, 1_000_000_000, places=6), st.sampled_from(["", "ms", "jobs"]))
def test_up_to_six_decimals_are_exact(number: Decimal, unit: str) -> None:
    quantity = parse_quantity(f"{number:f}{unit}".encode())
    assert quantity is not None
    assert quantity.millionths == number * MILLION
    assert quantity.number == pytest.approx(float(number))


@given(st.integers() | st.integers(-NUMBER_LIMIT - 2, NUMBER_LIMIT + 2) | st.floats())
def test_a_number_is_read_as_its_text(number: float) -> None:
    assert quantity_of(number) == parse_quantity(repr(number).encode())


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_none(text: bytes) -> None:
    quantity = parse_quantity(text)
    assert quantity is None or abs(quantity.millionths) <= NUMBER_LIMIT * MILLION
