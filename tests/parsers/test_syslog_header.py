"""Syslog headers: both dialects, timestamps of every precision, and rejection of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.samples import ParseError
from parsers.syslog_header import (
    EARLIEST_MS,
    LATEST_MS,
    Message,
    parse_message,
    parse_timestamp_ms,
    without_structured_data,
)

AT_MS = 1_795_341_600_000


def test_a_message_has_a_time_an_origin_and_a_text() -> None:
    frame = b"<158>1 2026-11-22T10:00:00.25+00:00 host heroku router - at=info path=/ x"
    assert parse_message(frame) == Message(AT_MS + 250, b"heroku", b"router", b"at=info path=/ x")


@pytest.mark.parametrize("pri", ["0", "45", "134", "158", "190", "191", "999", "045"])
def test_any_pri_is_accepted(pri: str) -> None:
    frame = f"<{pri}>1 2026-11-22T10:00:00+00:00 host app web.1 - hi".encode()
    assert parse_message(frame).app_name == b"app"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\n",
        b"x",
        b"<158>1",
        b"<158>1 2026-11-22T10:00:00+00:00 host heroku router",
        b"<>1 2026-11-22T10:00:00+00:00 host heroku router - x",
        b"<1588>1 2026-11-22T10:00:00+00:00 host heroku router - x",
        b"<-1>1 2026-11-22T10:00:00+00:00 host heroku router - x",
        b"<158>2 2026-11-22T10:00:00+00:00 host heroku router - x",
        b"158>1 2026-11-22T10:00:00+00:00 host heroku router - x",
    ],
)
def test_a_frame_without_a_valid_header_is_an_error(frame: bytes) -> None:
    with pytest.raises(ParseError) as error:
        parse_message(frame)
    assert error.value.reason == "header"


def test_a_message_may_be_empty() -> None:
    frame = b"<190>1 2026-11-22T10:00:00+00:00 host app web.1 -"
    assert parse_message(frame).text == b""


@pytest.mark.parametrize(
    ("text", "offset_ms"),
    [
        ("2026-11-22T10:00:00+00:00", 0),
        ("2026-11-22T10:00:00Z", 0),
        ("2026-11-22T10:00:00-00:00", 0),
        ("2026-11-22T10:00:00.1+00:00", 100),
        ("2026-11-22T10:00:00.12Z", 120),
        ("2026-11-22T10:00:00.123+00:00", 123),
        ("2026-11-22T10:00:00.1234+00:00", 123),
        ("2026-11-22T10:00:00.000999+00:00", 0),
        ("2026-11-22T10:00:00.123456789+00:00", 123),
        ("2026-11-22T12:30:00.5+02:30", 500),
        ("2026-11-22T03:00:00-07:00", 0),
        ("2026-11-22T09:59:60+00:00", 0),
    ],
)
def test_times_of_every_form_are_read(text: str, offset_ms: int) -> None:
    assert parse_timestamp_ms(text.encode()) == AT_MS + offset_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "now",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "2026-11-22T10:00+00:00",
        "2026-11-22 10:00:00+00:00",
        "2026-02-30T10:00:00+00:00",
        "2026-13-01T10:00:00+00:00",
        "2026-11-22T24:00:00+00:00",
        "2026-11-22T10:00:61+00:00",
        "2026-11-22T10:00:00.+00:00",
        "2026-11-22T10:00:00.1234567890+00:00",
        "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00.1x+00:00",
        "2026-11-22 10:00:00.1+00:00",
        "2026-11-22T10:00:61.1+00:00",
        "2026-02-30T10:00:00.1+00:00",
        "0000-11-22T10:00:00+00:00",
        "２０２６-11-22T10:00:00+00:00",
        "+026-11-22T10:00:00+00:00",
    ],
)
def test_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_timestamp_ms(text.encode())
    assert error.value.reason == "timestamp"


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:60.5+00:00",
    ],
)
def test_a_time_outside_of_years_1_to_9999_is_an_error(text: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_timestamp_ms(text.encode())
    assert error.value.reason == "timestamp"


def test_the_first_and_the_last_millisecond_of_that_range_are_read() -> None:
    assert parse_timestamp_ms(b"0001-01-01T00:00:00Z") == EARLIEST_MS
    assert parse_timestamp_ms(b"9999-12-31T23:59:59.999999+00:00") == LATEST_MS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"- at=info", b"at=info"),
        (b"-", b""),
        (b'[a@1 b="c"] at=info', b"at=info"),
        (b'[a@1 b="c\\]\\"" d=""][e] at=info', b"at=info"),
        (b"- \xef\xbb\xbfat=info", b"at=info"),
        (b"  at=info", b"at=info"),
        (b"at=info", b"at=info"),
        (b"-at", b"-at"),
    ],
)
def test_structured_data_is_removed(text: bytes, expected: bytes) -> None:
    assert without_structured_data(text) == expected


@pytest.mark.parametrize("text", [b"[", b"[a", b'[a b="c', b'[a b="c"', b"[]"])
def test_truncated_structured_data_is_an_error(text: bytes) -> None:
    with pytest.raises(ParseError) as error:
        without_structured_data(text)
    assert error.value.reason == "header"


@given(st.binary(max_size=80))
def test_arbitrary_bytes_raise_nothing_but_parse_errors(data: bytes) -> None:
    for parse in (parse_message, parse_timestamp_ms, without_structured_data):
        try:
            parse(data)
        except ParseError as error:
            assert error.reason in ("header", "timestamp")
