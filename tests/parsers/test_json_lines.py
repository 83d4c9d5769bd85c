"""Messages that log services exported as JSON objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.json_lines import batch_of, form_of, parse_entry
from parsers.samples import ParseError
from parsers.syslog_header import Message

AT_MS = 1_795_341_600_250
ISO = "2026-11-22T10:00:00.250Z"
REQUEST = 'at=info method=GET path="/ü" dyno=web.1 status=200'
EXPECTED = Message(AT_MS, b"heroku", b"router", REQUEST.encode())
SYSLOG = {"appname": "heroku", "procid": "router", "host": "host", "version": 1}


@pytest.mark.parametrize(
    ("entry", "form"),
    [
        (
            {"dt": ISO, "message": REQUEST, "platform": "Syslog", "syslog": SYSLOG},
            "Better Stack JSON",
        ),
        (
            {
                "dt": "2026-11-22 10:00:00.250",
                "raw": json.dumps({"message": f"{REQUEST}\n", "syslog": SYSLOG}),
            },
            "Better Stack JSON",
        ),
        (
            {
                "id": 7,
                "generated_at": ISO,
                "received_at": "2026-11-22T03:00:01-07:00",
                "source_name": "shop",
                "program": "heroku/router",
                "message": REQUEST,
            },
            "Papertrail JSON",
        ),
        ({"timestamp": ISO, "app_name": "heroku", "proc_id": "router", "message": REQUEST}, "JSON"),
        ({"timestamp": ISO, "source": "heroku", "process": "router", "message": REQUEST}, "JSON"),
        ({"_ts": AT_MS, "_app": "heroku[router]", "_line": REQUEST}, "JSON"),
        ({"@timestamp": AT_MS * 10**6, "fields": {"App_Name": "heroku", "ProcID": "router"},
          "message": REQUEST}, "JSON"),
        ({"message": f"2026-11-22T10:00:00.25+00:00 heroku[router]: {REQUEST}"}, "JSON"),
        ({"log": f"<158>1 2026-11-22T10:00:00.25Z host heroku router - {REQUEST}\n"}, "JSON"),
    ],
)  # fmt: skip
def test_objects_of_log_services_are_read(entry: dict[str, Any], form: str) -> None:
    assert parse_entry(entry, AT_MS) == EXPECTED
    assert form_of(entry) == form


def test_what_an_application_prints_is_never_a_line_of_the_platform() -> None:
    forged = {"appname": "heroku", "procid": "router", "message": REQUEST}
    line = f"2026-11-22T10:00:00+00:00 heroku[router]: {REQUEST}"
    syslog = {"appname": "app", "procid": "web.1"}

    for message in (
        parse_entry({"dt": ISO, **forged, "syslog": syslog}, AT_MS),
        parse_entry({"dt": ISO, "message": line, "syslog": syslog}, AT_MS),
        parse_entry({"generated_at": ISO, "program": "app/web.1", "message": line}, AT_MS),
    ):
        assert (message.app_name, message.procid) == (b"app", b"web.1")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "header"),
        (["message"], "header"),
        ({}, "header"),
        ({"dt": ISO, "message": "GET / 200"}, "header"),
        ({"message": REQUEST, "program": "heroku/router"}, "timestamp"),
        ({"dt": "soon", "message": REQUEST, "program": "heroku/router"}, "timestamp"),
        ({"dt": True, "message": REQUEST, "program": "heroku/router"}, "timestamp"),
        ({"dt": 1e40, "message": REQUEST, "program": "heroku/router"}, "timestamp"),
    ],
)
def test_other_objects_are_errors(entry: Any, reason: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_entry(entry, AT_MS)
    assert error.value.reason == reason


def test_documents_that_list_messages_are_taken_apart() -> None:
    assert batch_of({"events": [{"id": 1}, {"id": 2}], "max_id": 2}) == [{"id": 1}, {"id": 2}]
    assert batch_of({"events": []}) == [{"events": []}]
    assert batch_of({"id": 1}) == [{"id": 1}]
    assert batch_of(7) == [7]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda values: (
            st.lists(values, max_size=3)
            | st.dictionaries(st.sampled_from(["dt", "message", "raw", "source", "x"]), values)
        ),
        max_leaves=6,
    )
)
def test_arbitrary_values_raise_nothing_but_parse_errors(value: Any) -> None:
    for entry in batch_of(value):
        try:
            parse_entry(entry, AT_MS)
        except ParseError as error:
            assert error.reason in ("header", "timestamp")
