"""Histories keep what their labels promise."""

from __future__ import annotations

import pytest

from app.judgement.facts import Interval
from bench.verdicts.healthy import KINDS, healthy_history
from bench.verdicts.history import History, Step
from bench.verdicts.incidents import GROUPS, OTHERS, incident_history

SEED = "test 1"
NUMBERS = range(24)


def judged_steps(history: History) -> list[Step]:
    return [step for step in history.steps() if not step.is_past]


def whole_minutes(history: History) -> list[Interval]:
    """The minutes that are bad as a whole."""
    label = history.label
    assert label
    return [
        step.interval
        for step in history.steps()
        if label.onset_s <= step.interval.start_s and step.interval.end_s <= label.end_s
    ]


def failed_share(intervals: list[Interval]) -> float:
    webs = [interval.types["web"] for interval in intervals if "web" in interval.types]
    return sum(web.failed for web in webs) / sum(web.requests for web in webs)


def requests_a_minute(intervals: list[Interval]) -> float:
    webs = [interval.types["web"] for interval in intervals if "web" in interval.types]
    return sum(web.requests for web in webs) / len(intervals)


@pytest.mark.parametrize("group", GROUPS)
def test_the_same_seed_gives_the_same_history(group: str) -> None:
    first, second = (incident_history(SEED, group, 3) for _ in range(2))
    assert first.label == second.label
    assert list(first.steps()) == list(second.steps())
    assert incident_history("test 2", group, 3).label != first.label


@pytest.mark.parametrize("number", NUMBERS)
def test_strong_incidents_are_strong(number: int) -> None:
    history = incident_history(SEED, "strong", number)
    assert history.label
    bad = whole_minutes(history)
    assert requests_a_minute(bad) >= 17
    if "slow" not in history.label.kinds:
        assert failed_share(bad) > 0.45


@pytest.mark.parametrize("number", NUMBERS)
def test_mild_incidents_are_mild(number: int) -> None:
    history = incident_history(SEED, "mild", number)
    assert history.label
    bad = whole_minutes(history)
    if "slow" in history.label.kinds:
        assert requests_a_minute(bad) >= 90
        assert failed_share(bad) < 0.06
    else:
        assert requests_a_minute(bad) >= 54
        assert 0.08 < failed_share(bad) < 0.22


@pytest.mark.parametrize("group", ["strong", "mild", "one dyno"])
def test_minutes_follow_each_other_and_the_incident_lies_within(group: str) -> None:
    history = incident_history(SEED, group, 1)
    steps = list(history.steps())
    starts = [step.interval.start_s for step in steps]
    assert starts == list(range(starts[0], history.end_s, 60))
    assert history.label
    assert history.start_s < history.label.onset_s < history.label.end_s < history.end_s
    assert [step.is_past for step in steps] == [start_s < history.start_s for start_s in starts]


def test_only_the_bad_dyno_is_bad() -> None:
    for number in NUMBERS:
        history = incident_history(SEED, "one dyno", number)
        assert history.label
        (bad_dyno,) = history.label.dynos
        for interval in whole_minutes(history)[:5]:
            others = [facts for dyno, facts in interval.dynos.items() if dyno != bad_dyno]
            bad = interval.dynos[bad_dyno]
            if "slow" in history.label.kinds:
                assert bad.time_mean_ms
                assert all(bad.time_mean_ms > 1.5 * (facts.time_mean_ms or 0) for facts in others)
            else:
                assert bad.failed > 0.25 * bad.requests
                assert all(facts.failed < 0.25 * facts.requests for facts in others)


def test_a_change_that_is_named_is_among_the_events_before_the_onset() -> None:
    labels = [incident_history(SEED, "strong", number) for number in NUMBERS]
    named = [history for history in labels if history.label and history.label.change]
    assert 4 < len(named) < 20  # about half of them
    for history in named:
        label = history.label
        assert label
        assert label.change
        assert 0 < label.onset_s - label.change.at_s <= 300
        events = [event for step in history.steps() for event in step.interval.events]
        change = label.change
        assert (change.at_s * 1000, change.kind, "", change.detail) in events


def test_incidents_do_not_become_usual() -> None:
    history = incident_history(SEED, "strong", 0)
    assert history.label
    highest = max(
        step.usual.failed_share_max.get("web", 0.0)
        for step in history.steps()
        if step.interval.start_s > history.label.end_s
    )
    assert highest < 0.2


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_rarer_incidents_have_a_label_within_what_is_judged(number: int) -> None:
    history = incident_history(SEED, "others", number)
    assert history.label
    assert history.start_s <= history.label.onset_s
    assert len(judged_steps(history)) * 60 == history.end_s - history.start_s


def test_silence_is_silent_and_ends() -> None:
    history = next(
        history
        for number in range(len(OTHERS))
        if (history := incident_history(SEED, "others", number)).name
        and history.label
        and history.label.name == "silence"
    )
    assert not any(interval.messages for interval in whole_minutes(history))
    assert list(history.steps())[-1].interval.messages


@pytest.mark.parametrize("number", range(sum(weight for _, weight in KINDS.values())))
def test_healthy_apps_fail_in_a_few_requests_only(number: int) -> None:
    history = healthy_history(SEED, number)
    assert history.label is None
    history.end_s = history.start_s + 12 * 3600
    intervals = [
        step.interval
        for step in judged_steps(history)
        if step.interval.start_s not in history.model.excused_s
    ]
    if requests_a_minute(intervals) > 10:
        assert failed_share(intervals) < 0.06
