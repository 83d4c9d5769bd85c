"""When an app is in maintenance, and when its lines cannot be read."""

from __future__ import annotations

from app.judgement.detectors.maintenance import detect_maintenance
from app.judgement.detectors.unreadable import detect_unreadable
from app.judgement.facts import Interval
from app.judgement.verdict import Finding
from tests.app.judgement.scenes import USUAL, at, empty, minute, until, window_of


def in_maintenance(start_s: int) -> Interval:
    return Interval(start_s, messages=20, counted=20, maintenance=20)


def unreadable(start_s: int) -> Interval:
    return Interval(start_s, messages=10, unparsed=10)


def test_an_app_that_answers_is_not_in_maintenance() -> None:
    assert detect_maintenance(window_of("10:00", "11:00"), USUAL) == []


def test_maintenance_begins_with_its_first_answer() -> None:
    (symptom,) = detect_maintenance(
        window_of("10:00", "11:00", until("10:50", in_maintenance)), USUAL
    )
    assert (symptom.since_s, symptom.count, symptom.code) == (at("10:50"), 200, "H80")


def test_maintenance_lasts_while_no_requests_come() -> None:
    minutes = until("10:50", until("10:55", empty, in_maintenance))
    (symptom,) = detect_maintenance(window_of("10:00", "12:00", minutes), USUAL)
    assert symptom.since_s == at("10:50")


def test_maintenance_from_before_the_window_lasts_until_another_answer() -> None:
    finding = Finding("maintenance", "maintenance", at("03:00"))
    (symptom,) = detect_maintenance(window_of("10:00", "13:00", empty, findings=(finding,)), USUAL)
    assert symptom.since_s == at("03:00")
    window = window_of("10:00", "13:00", until("12:59", minute, empty), findings=(finding,))
    assert detect_maintenance(window, USUAL) == []


def test_maintenance_is_over_with_another_answer() -> None:
    minutes = until("10:50", until("10:59", minute, in_maintenance))
    assert detect_maintenance(window_of("10:00", "11:00", minutes), USUAL) == []


def test_a_few_such_answers_among_many_are_no_maintenance() -> None:
    def answering(start_s: int) -> Interval:
        return minute(start_s)._replace(maintenance=1)

    assert detect_maintenance(window_of("10:00", "11:00", answering), USUAL) == []


def test_maintenance_begins_within_a_minute_with_other_answers() -> None:
    def begins(start_s: int) -> Interval:
        return minute(start_s)._replace(maintenance=5)

    minutes = until("10:50", until("10:51", in_maintenance, begins))
    (symptom,) = detect_maintenance(window_of("10:00", "11:00", minutes), USUAL)
    assert (symptom.since_s, symptom.count) == (at("10:50"), 185)


def test_maintenance_goes_on_in_a_minute_with_as_many_other_answers() -> None:
    def mixed(start_s: int) -> Interval:
        facts = minute(start_s)
        requests = sum(each.requests for each in facts.types.values())
        return facts._replace(maintenance=requests)

    minutes = until("10:50", until("10:59", mixed, in_maintenance))
    (symptom,) = detect_maintenance(window_of("10:00", "11:00", minutes), USUAL)
    assert symptom.since_s == at("10:50")


def test_lines_that_none_can_read_are_told_after_some_minutes() -> None:
    assert detect_unreadable(window_of("10:00", "10:52", until("10:50", unreadable)), USUAL) == []
    (symptom,) = detect_unreadable(window_of("10:00", "10:53", until("10:50", unreadable)), USUAL)
    assert (symptom.since_s, symptom.count) == (at("10:50"), 30)


def test_one_line_that_was_counted_makes_an_app_readable() -> None:
    def mixed(start_s: int) -> Interval:
        return Interval(start_s, messages=10, unparsed=9, counted=int(start_s == at("10:58")))

    assert detect_unreadable(window_of("10:00", "11:00", until("10:50", mixed)), USUAL) == []


def test_an_app_that_logs_nothing_with_metrics_is_readable() -> None:
    def plain(start_s: int) -> Interval:
        return Interval(start_s, messages=40, unparsed=1)

    assert detect_unreadable(window_of("10:00", "11:00", plain), USUAL) == []


def test_unreadable_lines_of_some_time_ago_are_told_no_longer() -> None:
    minutes = until("10:40", until("10:50", empty, unreadable))
    assert detect_unreadable(window_of("10:00", "10:57", minutes), USUAL) == []
