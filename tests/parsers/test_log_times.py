"""Times as log services and syslog programs write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from parsers.log_times import TIME, is_complete, parse_number_ms, parse_time_ms
from parsers.samples import ParseError

LATEST_MS = int(datetime(2027, 1, 2, 12, tzinfo=UTC).timestamp() * 1000)


def iso_of(text: bytes, latest_ms: int = LATEST_MS) -> str:
    match = TIME.fullmatch(text)
    assert match, text
    at_ms = parse_time_ms(match, latest_ms)
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6]


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        (b"2026-11-22T10:00:00.123456+00:00", "2026-11-22T10:00:00.123"),
        (b"2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000"),
        (b"2026-11-22T10:00:00.1234567Z", "2026-11-22T10:00:00.123"),
        (b"2026-11-22 10:00:00 -0800", "2026-11-22T18:00:00.000"),
        (b"2026-11-22 10:00:00,250 +01:00", "2026-11-22T09:00:00.250"),
        (b"2026-11-22 10:00:00 UTC", "2026-11-22T10:00:00.000"),
        (b"2026-11-22T10:00:00", "2026-11-22T10:00:00.000"),
        (b"Nov 22 10:00:00", "2026-11-22T10:00:00.000"),
        (b"Nov  2 10:00:00.5", "2026-11-02T10:00:00.500"),
        (b"Nov 22, 2024 10:00:00", "2024-11-22T10:00:00.000"),
    ],
)
def test_times_of_all_forms_are_read(text: bytes, iso: str) -> None:
    assert iso == iso_of(text)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        (b"Dec 31 23:59:59", "2026-12-31T23:59:59.000"),
        (b"Jan  2 13:00:00", "2027-01-02T13:00:00.000"),  # clocks and zones differ by hours
        (b"Jan  4 00:00:00", "2026-01-04T00:00:00.000"),
        (b"Feb 29 08:00:00", "2024-02-29T08:00:00.000"),
    ],
)
def test_a_time_without_a_year_is_in_the_last_year_that_fits(text: bytes, iso: str) -> None:
    assert iso == iso_of(text)


@pytest.mark.parametrize(
    "text", [b"Nov 31 10:00:00", b"2026-13-01T00:00:00Z", b"2026-11-22 25:00:00 UTC"]
)
def test_times_that_do_not_exist_are_errors(text: bytes) -> None:
    with pytest.raises(ParseError, match="timestamp"):
        iso_of(text)


def test_a_time_without_a_zone_is_known_to_be_incomplete() -> None:
    complete = {text: is_complete(TIME.fullmatch(text)) for text in (  # type: ignore[arg-type]
        b"2026-11-22 10:00:00 -0800", b"2026-11-22T10:00:00", b"Nov 22 10:00:00"
    )}  # fmt: skip

    assert list(complete.values()) == [True, False, False]


@pytest.mark.parametrize("number", [1.7954e9, 1.7954e12, 1.7954e15, 1.7954e18])
def test_numbers_count_from_seconds_to_nanoseconds(number: float) -> None:
    assert parse_number_ms(number) == 1_795_400_000_000
