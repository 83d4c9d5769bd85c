"""The strip of problems of the last days."""

from __future__ import annotations

from app.dashboard.verdict_view import FindingLine
from app.judgement.verdict import State
from app.web.pages.history_strip import draw_history

NOW_S = 1_795_392_000  # 23 Nov 00:00 UTC
DAY_S = 86_400


def line(since_s: int, until_s: int, state: State = "down") -> FindingLine:
    return FindingLine("Was down.", state, since_s, until_s, since_s, until_s)


def test_a_problem_is_as_wide_as_it_was_long() -> None:
    strip = draw_history([line(NOW_S - 7 * DAY_S // 2, NOW_S - 7 * DAY_S // 4)], NOW_S)
    assert [(mark.x, mark.width) for mark in strip.marks] == [(50, 25)]


def test_a_short_problem_is_seen_and_a_lasting_one_reaches_the_edge() -> None:
    short, lasting = draw_history(
        [line(NOW_S - 60, NOW_S - 30), line(NOW_S - DAY_S, 0)], NOW_S
    ).marks
    assert short.width > 0.3
    assert short.x + short.width <= 100
    assert round(lasting.x + lasting.width) == 100


def test_what_was_before_or_is_no_problem_is_left_out() -> None:
    before = line(NOW_S - 9 * DAY_S, NOW_S - 8 * DAY_S)
    note = line(NOW_S - DAY_S, NOW_S - 3600, "ok")
    assert draw_history([before, note], NOW_S).marks == []


def test_days_begin_at_midnight() -> None:
    days = draw_history([], NOW_S + 12 * 3600).days
    assert [day.text for day in days][:2] == ["Tue 17", "Wed 18"]
    assert len(days) == 7
