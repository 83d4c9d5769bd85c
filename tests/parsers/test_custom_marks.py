"""Marks of custom metrics: which words of an app's line are read, and which lines are at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import dispatch
from parsers.custom_marks import MARKS_MAX, parse
from parsers.samples import CustomMarks, ParseError
from parsers.syslog_header import Message
from tests.support.lines import AT_S


def read(text: str, procid: str = "web.1") -> CustomMarks | None:
    return parse(procid.encode(), text.encode())


def names(text: str) -> list[str]:
    marks = read(text)
    return [f"{mark.kind} {mark.name}" for mark in marks.marks] if marks else []


def test_marks_stand_anywhere_in_a_line() -> None:
    text = "at=info count#signups=1 took measure#db.query=12.5ms\tsample#depth=4 done\n"
    assert names(text) == ["count signups", "measure db.query", "sample depth"]


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("count#a=1 source=eu-1", "eu-1"),
        ('source="eu" count#a=1', "eu"),
        ("count#a=1 source=", ""),
        ("count#a=1 source=europe/west", ""),
        ('count#a=1 source="worker pool"', ""),
        ("count#a=1 xsource=eu", ""),
        ("count#a=1 source=" + "s" * 101, ""),
        ("count#a=1 source=one source=two", "one"),
    ],
)
def test_a_source_belongs_to_all_marks_of_its_line(text: str, origin: str) -> None:
    marks = read(text)
    assert marks is not None
    assert marks.origin == origin


@pytest.mark.parametrize(
    "text",
    [
        "account#signups=1",
        "#count",
        "count#",
        "count# total",
        "Count#a=1",
        "issue#5=open",
        '{"msg": "count#a=1"}',
        "GET /?count#a=1",
        "measure.a=1",
        "queue=12ms [hirefire:router]",
        "[hirefire:router] queue=",
        "",
    ],
)
def test_other_words_are_no_marks(text: str) -> None:
    assert read(text) is None


def test_unreadable_marks_of_a_line_are_counted() -> None:
    marks = read("count#a=1 measure#b=x sample#c sample#ü=1 count#d=-1 count#" + "n" * 101)
    assert marks is not None
    assert (len(marks.marks), marks.unread) == (1, 5)


@pytest.mark.parametrize("text", ["measure#a=x", "sample#a", "count#a=-1", "count#a/b=1"])
def test_a_line_without_a_readable_mark_is_an_error(text: str) -> None:
    with pytest.raises(ParseError) as error:
        read(text)
    assert error.value.reason == "custom"


def test_a_line_has_a_limited_number_of_marks() -> None:
    marks = read(" ".join(f"count#n{number}" for number in range(MARKS_MAX + 20)))
    assert marks is not None
    assert (len(marks.marks), marks.unread) == (MARKS_MAX, 20)


def test_the_line_of_hirefire_is_a_queue_time() -> None:
    marks = read("I, [2026-11-22 #4] INFO -- : [hirefire:router] queue=12ms\n")
    assert marks is not None
    ((kind, name, quantity),) = marks.marks
    assert (kind, name, quantity.millionths, quantity.unit) == (
        *("measure", "queue_time"),
        *(12_000_000, "ms"),
    )


@pytest.mark.parametrize(
    "procid", ["web", "postgres.1127530", "heroku-postgres", "api", "router", "web.x", "web.1.2"]
)
def test_only_lines_of_dynos_are_read(procid: str) -> None:
    assert read("count#a=1", procid) is None


@pytest.mark.parametrize("app_name", ["app", "heroku", "App"])
@pytest.mark.parametrize("reads_marks", [False, True])
def test_only_an_apps_own_output_is_read_and_only_with_the_switch(
    app_name: str, reads_marks: bool
) -> None:
    message = Message(int(AT_S * 1000), app_name.encode(), b"web.1", b"count#a=1")
    sample = dispatch.parse(message, reads_marks)
    assert (sample is not None) == (reads_marks and app_name == "app")


words = st.sampled_from(
    ["count#a=1", "measure#b=2ms", "sample#c", "x", "=", "#", '"', " ", "source=eu", "[hirefire:"]
)


@given(st.lists(words | st.text(max_size=5), max_size=12), st.sampled_from([" ", ""]))
def test_any_text_is_read_or_rejected_as_custom(parts: list[str], separator: str) -> None:
    text = separator.join(parts)
    try:
        marks = read(text)
    except ParseError as error:
        assert error.reason == "custom"
        return
    assert marks is None or 0 < len(marks.marks) <= MARKS_MAX + 1
