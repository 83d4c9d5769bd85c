"""Lines as `heroku logs` prints them give the same messages as a drain body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.heroku_logs_text import looks_like_body, parse_line
from parsers.samples import ParseError
from parsers.syslog_header import Message
from tests.support.lines import router

AT_MS = 1_795_341_600_250


@pytest.mark.parametrize(
    "line",
    [
        b"2026-11-22T10:00:00.25+00:00 heroku[router]: at=info method=GET",
        b"2026-11-22T10:00:00.25+00:00 heroku[router]: at=info method=GET\r\n",
        b"\x1b[36m2026-11-22T10:00:00.25+00:00 heroku[router]:\x1b[0m at=info method=GET\n",
    ],
)
def test_a_line_is_read_with_any_line_end_and_with_colors(line: bytes) -> None:
    assert parse_line(line) == Message(AT_MS, b"heroku", b"router", b"at=info method=GET")


def test_output_may_be_empty_or_contain_anything() -> None:
    assert parse_line(b"2026-11-22T10:00:00.25+00:00 app[web.1]: ").text == b""
    assert parse_line(b"2026-11-22T10:00:00.25+00:00 app[web.1]: a]: b").text == b"a]: b"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "header"),
        (b"hello", "header"),
        (b"    at Object.<anonymous> (app.js:1)", "header"),
        (b"2026-11-22T10:00:00+00:00 heroku[web.1 - forged]: at=info", "header"),
        (b"yesterday heroku[router]: at=info", "timestamp"),
    ],
)
def test_other_lines_are_errors(line: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_line(line)
    assert error.value.reason == reason


def test_a_body_and_text_are_distinguished_by_their_beginning() -> None:
    assert looks_like_body(router())
    assert not looks_like_body(b"2026-11-22T10:00:00+00:00 heroku[router]: at=info")
    assert not looks_like_body(b"")


@given(st.binary(max_size=80))
def test_arbitrary_bytes_raise_nothing_but_parse_errors(data: bytes) -> None:
    try:
        parse_line(data)
    except ParseError as error:
        assert error.reason in ("header", "timestamp")
