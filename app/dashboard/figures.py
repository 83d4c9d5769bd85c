"""The figures of an app's page: of the range shown, of now, and of last week.

Those of now are of the last five minutes. A figure that the verdict tells is the verdict's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.charts import (
    AVERAGE_TIME,
    ERRORS,
    ERRORS_BY_CODE,
    FAILED_REQUESTS,
    MEMORY,
    P95,
    REQUESTS_BY_SLOT,
    REQUESTS_WITH_OUTCOME,
    failed_percent,
)
from app.dashboard.verdict_view import PresentValue, marked_figures, present_values
from app.judgement.present import PRESENT_S
from app.judgement.verdict import Verdict
from app.query.planner import plan_range
from app.query.rates import SETTLED_AFTER_S
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot, Question
from app.query.stats import Value
from app.query.table import QueryRange
from app.rollup.resolutions import DAY_S, MINUTE_S, Resolution, align
from app.rollup.time_range import TimeRange
from parsers.error_codes import MAINTENANCE_CODE

WEEK_S = 7 * DAY_S  # a longer range would be compared with a part of itself
_SAME = 0.05  # smaller changes are noise
_TIMES_MIN = 2.0
_PERCENT = 100

_REQUESTS_BY_OUTCOME = REQUESTS_WITH_OUTCOME._replace(by="outcome", whole_range=True)
_HIGHEST_MEMORY = MEMORY._replace(whole_range=True)
_ERRORS_IN_RANGE = ERRORS_BY_CODE._replace(whole_range=True)


class Figure(NamedTuple):
    """A number of a range; a share from 0 to 1 if the unit is %.

    recent     that of now; None if it is not known
    window_s   the length of the time that `recent` is of
    whole      that of the whole range
    last_week  that of the same range a week earlier
    by_step    the values of the complete steps
    is_bad     whether a finding is about it, and there is anything to see
    """

    name: str
    unit: str
    recent: Value
    window_s: int
    whole: Value
    last_week: Value
    by_step: list[Value]
    is_bad: bool

    @property
    def change(self) -> str:
        """How the range differs from last week's: +38 %, 2.3 ×, +26 points; "" if small."""
        if self.whole is None or self.last_week is None:
            return ""
        if self.unit == "%":
            points = _PERCENT * (self.whole - self.last_week)
            return f"{points:+.0f} points".replace("-", "−") if abs(points) >= 1 else ""
        if not self.last_week:
            return ""
        ratio = self.whole / self.last_week
        if ratio >= _TIMES_MIN:
            return f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:,.0f} ×"
        if abs(ratio - 1) < _SAME:
            return ""
        return f"{_PERCENT * (ratio - 1):+.0f} %".replace("-", "−")


class FigurePeriods(NamedTuple):
    """What figures are made of. `recent` and `last_week` are None where they make no sense."""

    shown: AppSnapshot
    recent: AppSnapshot | None
    last_week: AppSnapshot | None


def recent_range(resolutions: Sequence[Resolution], now_s: float) -> QueryRange:
    """The last five minutes that late lines are unlikely to change."""
    end_s = align(int(now_s) - SETTLED_AFTER_S, MINUTE_S)
    return plan_range(str(end_s - PRESENT_S), str(end_s), "1m", resolutions, now_s)[0]


def figure_questions(selection: Selection) -> list[Question]:
    """What the figures ask of each period."""
    return [
        *(REQUESTS_BY_SLOT, _REQUESTS_BY_OUTCOME, _HIGHEST_MEMORY, _ERRORS_IN_RANGE),
        _time_question(selection)._replace(whole_range=True),
    ]


def sparkline_questions(selection: Selection) -> list[Question]:
    """What the lines behind the figures ask of the range shown."""
    return [_time_question(selection), MEMORY, ERRORS, FAILED_REQUESTS, REQUESTS_WITH_OUTCOME]


def _time_question(selection: Selection) -> Question:
    return AVERAGE_TIME if selection.dyno else P95  # one dyno has no percentiles


def build_figures(
    periods: FigurePeriods, complete: TimeRange, complete_steps: int, verdict: Verdict
) -> list[Figure]:
    """The figures, and whether findings are about them.

    Args:
        periods: the snapshots.
        complete: the time whose slots have rates.
        complete_steps: of the range shown.
        verdict: of the whole app, which marks figures and tells some of those of now.
    """
    shown = periods.shown
    time_question = _time_question(shown.selection)
    lines = [
        shown.per_minute(shown.points(REQUESTS_BY_SLOT), complete),
        failed_percent(shown),
        shown.points(time_question),
        shown.points(MEMORY),
        shown.points(ERRORS),
    ]
    recent, whole, last_week = (
        [None] * len(lines) if period is None else _numbers(period, complete)
        for period in (periods.recent, shown, periods.last_week)
    )
    names = (
        ("requests/min", "", ""),
        ("failed", "%", "failed"),
        (time_question.stats[0], "ms", "time"),
        ("memory (fullest dyno)", "%", "memory"),
        ("Heroku errors", "", "errors"),
    )
    is_now = periods.recent is not None and shown.selection == WHOLE_APP
    present = present_values(verdict) if is_now else {}
    marks = marked_figures(verdict.findings)
    figures = []
    for (name, unit, mark), numbers, line in zip(
        names, zip(recent, whole, last_week, strict=True), lines, strict=True
    ):
        value, window_s = present.get(mark) or PresentValue(numbers[0], PRESENT_S)
        is_bad = mark in marks and any((value, numbers[1]))
        figure = Figure(name, unit, value, window_s, *numbers[1:], line[:complete_steps], is_bad)
        figures.append(figure)
    return figures


def _numbers(period: AppSnapshot, complete: TimeRange) -> list[Value]:
    """The values of a period, in the order of the page."""
    return [
        period.mean_per_minute(period.points(REQUESTS_BY_SLOT), complete),
        failed_share(period),
        period.value(_time_question(period.selection)._replace(whole_range=True)),
        period.value(_HIGHEST_MEMORY),
        _count_errors(period),
    ]


def _count_errors(snapshot: AppSnapshot) -> int:
    """Lines with an error code, without those of maintenance, which is no failure."""
    counts = snapshot.values_by(_ERRORS_IN_RANGE)
    return sum(int(count or 0) for code, count in counts.items() if code != MAINTENANCE_CODE)


def failed_share(snapshot: AppSnapshot) -> Value:
    """The share of requests that failed; None without requests."""
    counts = {
        outcome: count or 0 for outcome, count in snapshot.values_by(_REQUESTS_BY_OUTCOME).items()
    }
    requests = sum(counts.values())
    return counts.get("failed", 0) / requests if requests else None
