"""The groups of the list of apps, and the order within them."""

from __future__ import annotations

import pytest

from app.dashboard.app_groups import count_states, group_apps
from app.dashboard.apps_overview import AppOverview
from app.dashboard.environments import Environments
from app.judgement.verdict import State, Verdict
from app.storage.interface.apps import DRAIN
from app.verdicts.recent_figures import RecentFigures

NOW_S = 1_795_341_600
NAMES = Environments(production=("*-production", "checkout"), staging=("*-staging",))


def overview(app: str, state: State, *, silent_s: int = 10) -> AppOverview:
    verdict = Verdict(app, state, NOW_S - 600, 0, NOW_S, "", ())
    figures = RecentFigures(NOW_S, (1,), (0,), (9,), 0.5)
    return AppOverview(app, DRAIN, NOW_S - silent_s, verdict, True, figures)


def names(*overviews: AppOverview) -> dict[str, list[str]]:
    groups = group_apps(overviews, NAMES, NOW_S)
    return {group.name: [row.app for row in group.apps] for group in groups}


def test_apps_that_do_not_answer_come_first_and_idle_ones_last() -> None:
    assert names(
        overview("asleep", "idle"),
        overview("fine", "ok"),
        overview("slow", "degraded"),
        overview("mute", "silent"),
        overview("broken", "down"),
    ) == {"down": ["broken", "mute"], "degraded": ["slow"], "ok": ["fine"], "idle": ["asleep"]}


def test_within_a_state_production_comes_first_and_staging_last() -> None:
    assert names(
        overview("shop-staging", "ok"),
        overview("blog", "ok"),
        overview("checkout", "ok"),
        overview("shop-production", "ok"),
        overview("blog-staging", "degraded"),
    ) == {
        "degraded": ["blog-staging"],
        "ok": ["checkout", "shop-production", "blog", "shop-staging"],
    }


@pytest.mark.parametrize(("silent_s", "group"), [(3600, "down"), (25 * 3600, "idle")])
def test_an_app_that_is_silent_for_over_a_day_is_folded_away(silent_s: int, group: str) -> None:
    assert names(overview("old", "silent", silent_s=silent_s)) == {group: ["old"]}


def test_states_are_counted_by_urgency() -> None:
    rows = [overview("a", "ok"), overview("b", "down"), overview("c", "ok")]
    assert list(count_states(group_apps(rows, NAMES, NOW_S)).items()) == [("down", 1), ("ok", 2)]


def test_a_name_of_both_environments_is_one_of_production() -> None:
    both = Environments(("shop-*",), ("*-staging",))
    assert both.environment_of("shop-staging") == "production"
    assert both.environment_of("blog") == ""
