"""The groups of the list of apps: down, degraded, OK, and those that may be folded away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from app.dashboard.apps_overview import AppOverview
from app.dashboard.environments import Environments
from app.judgement.verdict import State
from app.rollup.resolutions import DAY_S
from app.verdicts.urgency import URGENCY, worst_first

GroupName = Literal["down", "degraded", "ok", "idle"]
GROUPS: tuple[GroupName, ...] = ("down", "degraded", "ok", "idle")
RETIRED_S = DAY_S  # an app that has been silent for longer is probably retired
_GROUP_OF_STATE: dict[State, GroupName] = {
    "down": "down",
    "silent": "down",
    "unreadable": "down",
    "unknown": "degraded",
    "degraded": "degraded",
    "maintenance": "ok",
    "ok": "ok",
    "idle": "idle",
}


class AppGroup(NamedTuple):
    """The apps of one group, in the order in which people should look at them."""

    name: GroupName
    apps: list[AppOverview]


def group_apps(
    overviews: Iterable[AppOverview], environments: Environments, now_s: float
) -> list[AppGroup]:
    """The apps by group, the worst first. Within a state, production apps come first."""
    by_app = {overview.app: overview for overview in overviews}
    ordered = worst_first(overview.verdict for overview in by_app.values())
    ordered.sort(
        key=lambda verdict: (URGENCY.index(verdict.state), environments.rank_of(verdict.app))
    )
    groups: dict[GroupName, list[AppOverview]] = {name: [] for name in GROUPS}
    for verdict in ordered:
        overview = by_app[verdict.app]
        groups[_group_of(overview, now_s)].append(overview)
    return [AppGroup(name, apps) for name, apps in groups.items() if apps]


def count_states(groups: Sequence[AppGroup]) -> dict[State, int]:
    """The number of apps in each state, the most urgent state first."""
    states = [overview.state for group in groups for overview in group.apps]
    return {state: states.count(state) for state in URGENCY if state in states}


def _group_of(overview: AppOverview, now_s: float) -> GroupName:
    if overview.state == "silent" and now_s - overview.last_seen_s > RETIRED_S:
        return "idle"
    return _GROUP_OF_STATE[overview.state]
