"""Apps are listed by how urgently somebody should look at them."""

from __future__ import annotations

from app.judgement.verdict import STATES, Finding, State, Verdict
from app.verdicts.urgency import URGENCY, worst_first


def verdict(app: str, state: State, since_s: int = 0, *findings: Finding) -> Verdict:
    return Verdict(app, state, since_s, 0, 1_000, "", findings)


def order(*verdicts: Verdict) -> list[str]:
    return [verdict.app for verdict in worst_first(verdicts)]


def test_what_is_broken_comes_before_what_is_planned_or_fine() -> None:
    apps = [verdict(state, state) for state in STATES]
    assert order(*apps) == list(URGENCY)
    assert URGENCY[:2] == ("down", "silent")
    assert set(URGENCY) == set(STATES)


def test_of_two_problems_the_latest_to_begin_comes_first() -> None:
    assert order(verdict("old", "down", 100), verdict("new", "down", 500)) == ["new", "old"]


def test_fine_apps_are_in_order_of_name_those_with_a_note_first() -> None:
    note = Finding("memory_high", "ok", 900)
    assert order(
        verdict("b", "ok", 900), verdict("a", "ok", 100), verdict("z", "ok", 500, note)
    ) == ["z", "a", "b"]
