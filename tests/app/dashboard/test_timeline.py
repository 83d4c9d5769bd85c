"""Events are grouped, and no kind hides another."""

from __future__ import annotations

from datetime import UTC, datetime

from app.dashboard.timeline import EventGroup, group_events, list_events
from app.rollup.events import EventKey
from app.web.pages.event_lane import draw_lane

START_S = 1_795_338_000
HOUR_S = 3_600


def event(minute: float, kind: str, source: str = "", detail: str = "") -> tuple[EventKey, int]:
    return EventKey(int((START_S + 60 * minute) * 1000), kind, source, detail), 1


def grouped(
    *events: tuple[EventKey, int], alerts: tuple[tuple[float, str], ...] = ()
) -> list[EventGroup]:
    return group_events(list_events(sorted(events), alerts), HOUR_S)


def test_a_loop_of_crashes_is_one_group_and_the_release_another() -> None:
    crashes = [event(10 + number, "crash", f"web.{1 + number % 2}") for number in range(8)]
    exits = [event(10 + number, "exit", "web.1", "1") for number in range(8)]
    groups = grouped(*crashes, *exits, event(9, "release", detail="v57"))
    assert [group.title for group in groups] == ["release v57", "crash × 8", "exit × 8"]
    assert groups[1].texts == ["web.1 crashed (4 ×)", "web.2 crashed (4 ×)"]
    assert groups[1].last_s == START_S + 17 * 60
    assert groups[2].texts == ["web.1 exited with status 1 (8 ×)"]


def test_a_loop_with_longer_and_longer_breaks_is_one_group_but_releases_are_not() -> None:
    crashes = [event(minute, "crash", "web.1") for minute in (10, 11, 14, 20, 27)]
    releases = [event(minute, "release", detail=f"v{minute}") for minute in (8, 12)]
    titles = [group.title for group in grouped(*crashes, *releases)]
    assert titles == ["release v8", "crash × 5", "release v12"]


def test_events_of_a_kind_that_are_far_apart_are_told_apart() -> None:
    groups = grouped(event(5, "crash", "web.1"), event(40, "crash", "web.1"))
    assert [group.title for group in groups] == ["web.1 crashed", "web.1 crashed"]


def test_a_long_group_names_the_first_and_counts_the_rest() -> None:
    groups = grouped(*[event(1, "restart", f"web.{number}") for number in range(20)])
    assert groups[0].title == "restart × 20"
    assert groups[0].texts[-1] == "and 15 others"
    assert len(groups[0].texts) == 6


def test_changes_dynos_and_alerts_have_tracks_of_their_own() -> None:
    alerts = (
        (START_S + 600, "alert: slow"),
        (START_S + 660, "alerts acknowledged by kim"),
        (START_S + 1200, "resolved: slow"),
    )
    groups = grouped(
        event(9, "release", detail="v57"),
        event(9, "config", detail="A"),
        event(9, "crash", "web.1"),
        alerts=alerts,
    )
    lane = {
        track.name: track.icons for track in draw_lane(groups, START_S, START_S + HOUR_S).tracks
    }
    assert [icon.group.kind for icon in lane["changes"]] == ["release", "config"]
    assert [icon.group.kind for icon in lane["dynos"]] == ["crash"]
    assert [icon.group.kind for icon in lane["alerts"]] == ["alert", "mute", "resolved"]
    paths = [icon.path for icons in lane.values() for icon in icons]
    assert len(set(paths)) == len(paths)


def test_icons_at_one_time_stand_side_by_side() -> None:
    groups = grouped(event(9, "release", detail="v57"), event(9.2, "config", detail="A"))
    first, second = draw_lane(groups, START_S, START_S + HOUR_S).tracks[0].icons
    assert first.left == second.left
    assert second.offset > first.offset


def test_icons_at_the_right_edge_stay_inside() -> None:
    groups = grouped(event(59, "release", detail="v57"), event(59, "config", detail="A"))
    icons = draw_lane(groups, START_S, START_S + HOUR_S).tracks[0].icons
    assert [icon.offset for icon in icons] == [-icons[0].size, 0]


def test_the_times_below_the_lane_stand_where_icons_of_these_times_do() -> None:
    groups = grouped(event(20, "release", detail="v57"))
    lane = draw_lane(groups, START_S, START_S + HOUR_S)
    [icon] = lane.tracks[0].icons
    at = f"{datetime.fromtimestamp(START_S + 20 * 60, UTC):%H:%M}"
    [share] = [tick.share for tick in lane.times if tick.text == at]
    assert round(100 * share, 2) == icon.left
