"""When a problem is that of many apps, and which apps are review apps."""

from __future__ import annotations

import pytest

from app.judgement.fleet import find_fleet_problem, fleet_apps
from app.judgement.review_apps import is_gone, is_review_app
from app.judgement.verdict import Finding, State, Verdict
from app.judgement.wording import describe_brief
from app.rollup.resolutions import HOUR_S
from tests.app.judgement.scenes import at

NOW = at("23:27")


def verdict(app: str, state: State = "ok", clock: str = "", code: str = "") -> Verdict:
    kind = "failing" if code else "silent"
    findings = (Finding(kind, state, at(clock), code=code),) if clock else ()
    return Verdict(app, state, 0, 0, NOW, "", findings)


def silent(*clocks: str) -> list[Verdict]:
    return [verdict(f"app-{number}", "silent", clock) for number, clock in enumerate(clocks)]


def fine(count: int, state: State = "ok") -> list[Verdict]:
    return [verdict(f"fine-{number}", state) for number in range(count)]


def test_three_apps_of_ten_that_fall_silent_together_are_one_problem() -> None:
    verdicts = silent("23:12", "23:13", "23:14") + fine(7)
    problem = find_fleet_problem(verdicts)
    assert problem is not None
    assert describe_brief(problem, NOW).startswith(
        "3 of 10 apps have been silent since 23:12 UTC (15 min): look at Heroku"
    )
    assert fleet_apps(verdicts, problem) == ["app-0", "app-1", "app-2"]


@pytest.mark.parametrize(
    "verdicts",
    [
        silent("23:12", "23:13") + fine(2),  # two
        silent("23:12", "23:13", "23:14") + fine(8),  # less than 30 %
        silent("23:10", "23:13", "23:16") + fine(2),  # not at the same time
        fine(5),
        [],
    ],
)
def test_fewer_or_scattered_apps_have_a_problem_each(verdicts: list[Verdict]) -> None:
    assert find_fleet_problem(verdicts) is None


def test_apps_that_sleep_do_not_count() -> None:
    assert find_fleet_problem(silent("23:12", "23:13", "23:14") + fine(30, "idle")) is not None


def test_an_app_that_was_silent_before_is_not_among_them() -> None:
    verdicts = silent("21:00", "23:12", "23:13", "23:14")
    problem = find_fleet_problem(verdicts)
    assert problem is not None
    assert fleet_apps(verdicts, problem) == ["app-1", "app-2", "app-3"]


def test_a_platform_error_of_many_apps_is_one_problem_too() -> None:
    verdicts = [verdict(f"app-{n}", "degraded", "23:12", "H99") for n in range(3)] + fine(4)
    problem = find_fleet_problem(verdicts)
    assert problem is not None
    assert (problem.code, problem.state, problem.count) == ("H99", "degraded", 3)


@pytest.mark.parametrize(
    ("app", "is_review"),
    [
        ("shop-pr-12", True),
        ("shop-pr-123-x7k2p", True),
        ("shop", False),
        ("shop-pr-office", False),
        ("my-prints", False),
    ],
)
def test_review_apps_are_told_by_their_names(app: str, is_review: bool) -> None:
    assert is_review_app(app) == is_review


def test_the_names_of_review_apps_are_a_setting() -> None:
    assert is_review_app("shop-preview-1", ["*-preview-*"])
    assert not is_review_app("shop-pr-12", ["*-preview-*"])
    assert not is_review_app("shop-pr-12", [])


def test_a_review_app_is_gone_two_days_after_its_last_line() -> None:
    assert not is_gone(NOW - 48 * HOUR_S, NOW)
    assert is_gone(NOW - 48 * HOUR_S - 1, NOW)
