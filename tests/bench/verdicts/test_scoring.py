"""Verdicts made by hand are counted right."""

from __future__ import annotations

from random import Random

import pytest

from app.judgement.facts import Interval, Usual
from app.judgement.verdict import Change, Episode, Finding, State, Verdict
from bench.verdicts.healthy import plain_model
from bench.verdicts.history import History, Label
from bench.verdicts.scoring import (
    HealthyScore,
    HealthyScorer,
    IncidentScore,
    IncidentScorer,
    judge_change,
    judge_naming,
)
from bench.verdicts.tables import detection, false_alarms, poisson_bound

START_S = 600_000
ONSET_S = START_S + 610  # ten minutes later, and ten seconds
END_S = ONSET_S + 1_200
RELEASE = Change(ONSET_S - 60, "release", "v7")
LABEL = Label(
    "by hand", frozenset({"failing"}), frozenset({"down"}), ONSET_S, END_S, change=RELEASE
)


def history(label: Label | None = None) -> History:
    model = plain_model(Random(1), "shop", 20)
    return History("shop", "strong", model, START_S, START_S + 7_200, label)


def verdict(minute: int, *findings: Finding, state: State = "down") -> Verdict:
    judged_s = START_S + 60 * minute
    return Verdict("shop", state, 0, 0, judged_s, "Down.", findings)


def score_incident(
    findings: dict[int, Finding], ended: tuple[Episode, ...] = (), label: Label = LABEL
) -> IncidentScore:
    """The score if each finding is there from its minute on, until the next."""
    scorer = IncidentScorer(history(label))
    current: list[Finding] = []
    for minute in range(60):
        if minute in findings:
            current = [findings[minute]]
        scorer.observe(verdict(minute, *current), ended if minute == 59 else ())
    return scorer.finish()


def score_healthy(findings: dict[int, list[Finding]]) -> HealthyScore:
    scorer = HealthyScorer(history())
    for minute in range(60):
        told = verdict(minute, *findings.get(minute, []))
        scorer.observe(Interval(told.judged_s - 60), Usual(), told)
    return scorer.score


def failing(since_s: int, **fields: object) -> Finding:
    return Finding("failing", "down", since_s, **fields)  # type: ignore[arg-type]


def test_a_delay_is_counted_from_the_end_of_the_first_whole_bad_minute() -> None:
    assert LABEL.first_bad_minute_end_s == START_S + 12 * 60
    assert score_incident({12: failing(ONSET_S)}).delay_s == 0
    assert score_incident({15: failing(ONSET_S)}).delay_s == 180
    assert score_incident({}).delay_s is None


def test_an_onset_on_a_full_minute_makes_that_minute_the_first_whole_one() -> None:
    label = Label("x", LABEL.kinds, LABEL.states, START_S + 600, END_S)
    assert label.first_bad_minute_end_s == START_S + 660


def test_a_finding_from_before_the_onset_is_an_early_alarm_and_finds_nothing() -> None:
    scorer = IncidentScorer(history(LABEL))
    scorer.observe(verdict(5, failing(START_S)), ())
    score = scorer.finish()
    assert (score.early_alarms, score.delay_s) == (1, None)


def test_another_kind_of_finding_finds_nothing() -> None:
    score = score_incident({12: Finding("slow", "degraded", ONSET_S)})
    assert score.delay_s is None
    assert score.other_findings == ["slow"]


def test_a_note_is_no_alarm() -> None:
    assert score_incident({12: Finding("failing", "ok", ONSET_S)}).delay_s is None


def test_the_onset_is_that_of_the_last_finding_within_the_incident() -> None:
    last = failing(ONSET_S + 30, since_min_s=ONSET_S - 5, since_max_s=ONSET_S + 60)
    score = score_incident({12: failing(ONSET_S - 300), 20: last})
    assert score.onset_error_s == 30
    assert score.is_covered
    assert not score_incident({12: failing(ONSET_S - 300)}).is_covered


def test_the_end_and_the_episodes_are_those_that_ended() -> None:
    ended = Episode(failing(ONSET_S, until_s=END_S + 40), "It was down.")
    other = Episode(Finding("slow", "degraded", ONSET_S, until_s=END_S), "It was slow.")
    score = score_incident({12: failing(ONSET_S)}, (ended, other))
    assert (score.end_error_s, score.episodes) == (40, 1)


@pytest.mark.parametrize(
    ("true_dynos", "named", "who", "answer"),
    [
        (("web.1",), ("web.1",), "dyno", "right"),
        (("web.1",), ("web.2",), "dyno", "wrong"),
        (("web.1",), ("web.1", "web.2"), "dyno", "wrong"),
        (("web.1",), (), "unsure", "unsure"),
        (("web.1",), (), "everyone", "none"),
        ((), (), "everyone", "right"),
        ((), ("web.1",), "dyno", "wrong"),
    ],
)
def test_dynos_are_right_only_if_exactly_the_bad_ones_are_named(
    true_dynos: tuple[str, ...], named: tuple[str, ...], who: str, answer: str
) -> None:
    label = Label("x", LABEL.kinds, LABEL.states, ONSET_S, END_S, dynos=true_dynos)
    assert judge_naming(label, failing(ONSET_S, dynos=named, who=who)) == answer


@pytest.mark.parametrize(
    ("true_change", "said_change", "answer"),
    [
        (RELEASE, RELEASE, "right"),
        (RELEASE, Change(RELEASE.at_s - 1, "deploy", "abc"), "right"),
        (RELEASE, Change(RELEASE.at_s - 900, "config", "X"), "wrong"),
        (RELEASE, None, "missed"),
        (None, RELEASE, "wrong"),
        (None, None, "none"),
    ],
)
def test_a_change_is_right_if_it_is_the_one_or_rightly_none(
    true_change: Change | None, said_change: Change | None, answer: str
) -> None:
    label = Label("x", LABEL.kinds, LABEL.states, ONSET_S, END_S, change=true_change)
    assert judge_change(label, failing(ONSET_S, after=said_change)) == answer


def test_a_false_alarm_is_one_episode_however_long_it_lasts() -> None:
    finding = failing(START_S)
    score = score_healthy({minute: [finding] for minute in (*range(3, 9), 15)})
    assert [alarm.minutes for alarm in score.alarms] == [7]
    assert score.hours == pytest.approx(1)


def test_alarms_that_are_far_apart_or_of_two_kinds_are_two() -> None:
    slow = Finding("slow", "degraded", START_S)
    score = score_healthy({3: [failing(START_S), slow], 40: [failing(START_S)]})
    assert sorted(alarm.state for alarm in score.alarms) == ["degraded", "down", "down"]


def test_notes_sleep_and_findings_that_ended_are_no_false_alarms() -> None:
    notes = [
        Finding("restart", "ok", START_S),
        Finding("asleep", "idle", START_S),
        Finding("maintenance", "maintenance", START_S),
        failing(START_S, until_s=START_S + 60),
    ]
    assert score_healthy({3: notes}).alarms == []


def test_none_in_30_000_hours_says_at_most_1_in_10_000() -> None:
    assert poisson_bound(0) == pytest.approx(2.996, abs=0.001)
    assert poisson_bound(3) == pytest.approx(7.754, abs=0.001)
    table = false_alarms([HealthyScore("steady", hours=30_000)])
    assert table.rows[-1]["down, silent per 10,000 h"] == "0.00 (≤ 1.00)"


def test_the_table_counts_what_was_never_found() -> None:
    scores = [score_incident({12: failing(ONSET_S)}), score_incident({})]
    row = detection(scores).rows[-1]
    assert (row["number"], row["within 2 min"], row["ever"]) == (2, "50.0%", "50.0%")
