"""Which change is named before a problem, and when rightly none is."""

from __future__ import annotations

import msgspec
import pytest

from app.judgement.changes import find_change
from app.judgement.verdict import Change, Finding
from app.rollup.events import EventKey
from tests.app.judgement.scenes import at, event, window_of

ONSET = Finding(
    "failing", "degraded", at("12:10:00"), at("12:09:50"), at("12:10:10"), process_type="web"
)
VAGUE = Finding(
    "slow", "degraded", at("12:10:00"), at("12:07:00"), at("12:11:00"), process_type="web"
)


def change(*events: EventKey, finding: Finding = ONSET) -> Change | None:
    return find_change(window_of("10:00", "12:20", events=events), finding)


def named(*events: EventKey, finding: Finding = ONSET) -> str:
    found = change(*events, finding=finding)
    return found.detail if found else ""


def test_without_events_there_is_no_change() -> None:
    assert change() is None


@pytest.mark.parametrize(
    ("clock", "is_named"),
    [
        ("12:09:30", True),
        ("12:08:00", True),
        ("12:07:00", True),
        ("12:05:30", False),  # likelier by chance
        ("12:10:05", True),  # within the time in which it may have begun
        ("12:10:30", False),  # afterwards
    ],
)
def test_a_release_is_named_if_it_is_close(clock: str, is_named: bool) -> None:
    assert named(event(clock, "release", "", "v9")) == "v9" * is_named


def test_where_the_onset_is_vague_a_change_within_its_time_is_named() -> None:
    assert named(event("12:09:45", "release", "", "v9"), finding=VAGUE) == "v9"
    assert named(event("12:03:00", "release", "", "v9"), finding=VAGUE) == ""


def test_a_release_and_its_config_change_are_one_change() -> None:
    found = change(
        event("12:09:01", "release", "", "v57"), event("12:09:00", "config", "", "set KEY")
    )
    assert found == Change(at("12:09:00"), "release", "v57", (("config", "set KEY"),))


def test_two_releases_are_two_changes_and_the_closer_one_is_named() -> None:
    events = [event(clock, "release", "", name) for clock, name in
              (("12:08:00", "v1"), ("12:09:30", "v2"))]  # fmt: skip
    assert change(*events) == Change(at("12:09:30"), "release", "v2")


def test_the_restart_of_another_process_type_explains_nothing() -> None:
    assert change(event("12:09:50", "restart", "worker.1", "was up")) is None
    found = change(event("12:09:50", "restart", "web.1", "was up"))
    assert found is not None
    assert found.kind == "restart"


def test_a_release_counts_more_than_scaling_at_about_the_same_time() -> None:
    events = (event("12:09:20", "release", "", "v1"), event("12:09:40", "scale", "", "web@2"))
    assert named(*events) == "v1"


@pytest.mark.parametrize(
    "events",
    [
        (event("12:09:30", "release", "", "v9 failed"), event("12:09:29", "deploy", "", "abcd123")),
        (event("12:09:30", "release", "", "v9 running"),),
        (event("12:09:30", "build", "", "started"),),
        (event("12:09:30", "crash", "web.1"),),
        (event("12:09:30", "cycle", "web.1"), event("12:09:35", "restart", "web.1", "was up")),
        (event("12:09:35", "restart", "web.1", "was crashed"),),
    ],
    ids=["failed", "running", "build", "crash", "cycle", "crashed"],
)
def test_what_changes_nothing_is_not_named(events: tuple[EventKey, ...]) -> None:
    assert change(*events) is None


def test_a_restart_is_named_if_nothing_else_explains_it() -> None:
    restart = event("12:09:35", "restart", "web.1", "was up")
    found = change(restart)
    assert found and found.kind == "restart"
    found = change(event("12:09:01", "release", "", "v9"), restart)
    assert found and found.kind == "release"


@pytest.mark.parametrize(
    ("dynos", "expected"),
    [
        (("web.4",), Change(at("12:09:05"), "restart", "web.4")),
        (("web.5",), None),  # another dyno was cycled
        ((), None),
    ],
)
def test_the_daily_restart_of_the_dyno_with_the_problem_is_named(
    dynos: tuple[str, ...], expected: Change | None
) -> None:
    finding = msgspec.structs.replace(ONSET, dynos=dynos)
    cycle = event("12:09:00", "cycle", "web.4")
    restart = event("12:09:05", "restart", "web.4", "was up")
    assert change(cycle, restart, finding=finding) == expected


def test_a_leak_does_not_come_after_the_restart_at_which_it_began() -> None:
    leak = Finding(
        "memory_high", "ok", at("11:00"), process_type="web", dynos=("web.2",), reason="leak"
    )
    events = (
        event("10:59:30", "cycle", "web.2"),
        event("10:59:35", "restart", "web.2", "was up"),
        event("11:00:00", "up", "web.2"),
    )
    assert change(*events, finding=leak) is None


@pytest.mark.parametrize("kind", ["maintenance", "asleep", "incomplete"])
def test_what_tells_itself_needs_no_change(kind: str) -> None:
    finding = Finding(kind, "idle", ONSET.since_s)
    assert named(event("12:09:30", "release", "", "v9"), finding=finding) == ""


def test_a_leak_comes_after_the_release_at_the_boot_of_its_dyno() -> None:
    leak = Finding(
        "memory_high", "ok", at("11:00"), process_type="web", dynos=("web.2",), reason="leak"
    )
    events = (
        event("10:30:00", "release", "", "v8"),
        event("10:30:40", "up", "web.2"),
        event("10:59:30", "release", "", "v9"),
        event("10:59:50", "up", "web.1"),
    )
    assert named(*events, finding=leak) == "v8"
    assert named(*events[2:], finding=leak) == ""
