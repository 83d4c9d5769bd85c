"""Lines of Heroku's that other programs wrote anew, or put something in front of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.exported_lines import parse_archived, parse_exported, parse_program
from parsers.samples import ParseError
from parsers.syslog_header import Message

AT_MS = 1_795_341_600_250
TIME = b"2026-11-22T10:00:00.25+00:00"
REQUEST = b'at=info method=GET path="/" dyno=web.1 status=200'
EXPECTED = Message(AT_MS, b"heroku", b"router", REQUEST)


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        (TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (b"shop.log:" + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (b"12:" + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (b"C:\\my logs\\shop.log:12:" + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (b"shop.log-13-" + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (b"> " + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (
            b"2026-11-22T10:00:07.1234567Z " + TIME + b" heroku[router]: ",
            "heroku logs, with a prefix",
        ),
        (
            b"test\tshow logs\t2026-11-22T10:00:07.1Z " + TIME + b" heroku[router]: ",
            "heroku logs, with a prefix",
        ),
        (b"[2026-11-22T10:00:07.1Z] " + TIME + b" heroku[router]: ", "heroku logs, with a prefix"),
        (
            b"Nov 22 10:00:07 box dump[71]: " + TIME + b" heroku[router]: ",
            "heroku logs, with a prefix",
        ),
        (TIME + b" d.8f6f heroku[router]: ", "syslog lines"),
        (TIME + b" d.8f6f heroku[router] ", "syslog lines"),
        (b"<158>1 " + TIME + b" host heroku router - ", "syslog lines"),
        (b"245 <158>1 " + TIME + b" d.8f6f heroku router - - ", "syslog lines"),
        (b"231 1 " + TIME + b" d.8f6f heroku router - - ", "syslog lines"),
        (TIME + b" [info] heroku[router]: ", "syslog lines"),
        (TIME + b" shop heroku router ", "syslog lines"),
        (
            b"22 Nov 2026 02:00:00.9 <158>1 " + TIME + b" heroku router - - ",
            "syslog lines without a host name",
        ),
        (TIME + b" shop heroku/router: ", "Papertrail text"),
        (TIME + b" shop heroku/router ", "Papertrail text"),
    ],
)
def test_a_line_is_read_whatever_stands_before_it(prefix: bytes, form: str) -> None:
    line = parse_exported(prefix + REQUEST, AT_MS)

    assert line.message == EXPECTED
    assert line.form == form
    assert line.is_time_complete
    assert (prefix + REQUEST)[line.start :].startswith(TIME)


@pytest.mark.parametrize(
    "prefix",
    [b"Nov 22 10:00:00.25 shop heroku/router: ", b"Nov 22 10:00:00.25 d.8f6f heroku[router]: "],
)
def test_times_of_syslog_have_no_year_and_no_zone(prefix: bytes) -> None:
    line = parse_exported(prefix + REQUEST, AT_MS)

    assert (line.message, line.is_time_complete) == (EXPECTED, False)


@pytest.mark.parametrize("name", [b"web.1", b"2fa_worker.1", b"api", b"heroku-postgres"])
def test_sources_of_the_app_are_read(name: bytes) -> None:
    for prefix in (b" app[%s]: ", b" shop app/%s: ", b" host app %s - "):
        message = parse_exported(TIME + prefix % name + b"hello", AT_MS).message
        assert message == Message(AT_MS, b"app", name, b"hello")


@pytest.mark.parametrize(
    "prefix",
    [
        TIME + b" app[web.1]: ",
        TIME + b" shop app/web.1: ",
        b"<190>1 " + TIME + b" host app web.1 - ",
        b"shop.log:12:" + TIME + b" app[web.1]: ",
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        TIME + b" heroku[router]: " + REQUEST,
        b"239 <158>1 " + TIME + b" host heroku router - " + REQUEST,
        b"Nov 22 10:00:00 shop heroku/router: " + REQUEST,
    ],
)
def test_what_an_application_prints_is_never_a_line_of_the_platform(
    prefix: bytes, text: bytes
) -> None:
    message = parse_exported(prefix + text, AT_MS).message

    assert (message.app_name, message.procid, message.text) == (b"app", b"web.1", text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "header"),
        (b"prose about an app and Heroku", "header"),
        (b"Nov 22 10:00:00 box sshd[12]: Accepted publickey", "header"),
        (b"Nov 22 10:00:00 box app[2716]: started", "header"),
        (TIME + b" DEPRECATION in app/models: use another", "header"),
        (b"heroku/router: " + REQUEST, "timestamp"),
        (b"yesterday heroku[router]: " + REQUEST, "timestamp"),
        (TIME + b" four words stand between heroku[router]: " + REQUEST, "timestamp"),
        (b"2026-13-45T10:00:00Z heroku[router]: " + REQUEST, "timestamp"),
    ],
)
def test_other_lines_are_errors(line: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_exported(line, AT_MS)
    assert error.value.reason == reason


def archived(generated_at: bytes, program: bytes = b"heroku/router") -> bytes:
    columns = [b"7680", generated_at, b"2026-11-22T10:00:00Z", b"505", b"shop", b"192.0.2.3"]
    return b"\t".join([*columns, b"Local3", b"Info", program, REQUEST + b"\twith a tab"])


@pytest.mark.parametrize(
    "generated_at",
    [b"2026-11-22T10:00:00", b"2026-11-22T10:00:00Z", b"2026-11-22 02:00:00 -0800", b"later"],
)
def test_a_line_of_an_archive_is_read(generated_at: bytes) -> None:
    message = parse_archived(archived(generated_at), AT_MS)

    text = REQUEST + b"\twith a tab"
    assert message == Message(AT_MS - 250, b"heroku", b"router", text)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a\tb",
        archived(b"2026-11-22T10:00:00", b"sshd"),
        TIME + b" heroku[router]: " + REQUEST,
    ],
)
def test_a_line_that_is_not_of_a_heroku_archive_is_an_error(line: bytes) -> None:
    with pytest.raises(ParseError, match="header"):
        parse_archived(line, AT_MS)


def test_names_of_programs_say_the_source() -> None:
    assert parse_program(b"heroku/router") == (b"heroku", b"router")
    assert parse_program(b"app[web.1]") == (b"app", b"web.1")
    assert parse_program(b"nginx") is None
    assert parse_program(b"happy/web.1") is None


@given(st.binary(max_size=80) | st.from_regex(rb"[ -~]{0,20}(app|heroku)[ -~]{0,30}"))
def test_arbitrary_bytes_raise_nothing_but_parse_errors(data: bytes) -> None:
    for parse in (parse_exported, parse_archived):
        try:
            parse(data, AT_MS)
        except ParseError as error:
            assert error.reason in ("header", "timestamp")
