"""Plays histories to the judge, on several processes. Only this file knows the judge."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import Pool
from random import Random
from typing import NamedTuple

from app.judgement.judge import Judge
from bench.verdicts.healthy import healthy_history
from bench.verdicts.history import History
from bench.verdicts.incidents import incident_history
from bench.verdicts.oracle import FailingOracle, SlowOracle
from bench.verdicts.scoring import (
    HealthyScore,
    HealthyScorer,
    IncidentScore,
    IncidentScorer,
)

HEALTHY = "healthy"


class Task(NamedTuple):
    """One history to be judged."""

    seed: str
    group: str
    number: int


@dataclass
class Scores:
    """All scores of a run."""

    healthy: list[HealthyScore] = field(default_factory=list)
    incidents: list[IncidentScore] = field(default_factory=list)


def build(task: Task) -> History:
    """The history of a task."""
    if task.group == HEALTHY:
        return healthy_history(task.seed, task.number)
    return incident_history(task.seed, task.group, task.number)


def judge_healthy(history: History) -> HealthyScore:
    """Judge an app that is all right."""
    judge = Judge(history.profile)
    scorer = HealthyScorer(history)
    for interval, usual, is_past in history.steps():
        verdict = judge.advance(interval, usual, is_past=is_past)
        scorer.observe(interval, usual, None if is_past else verdict)
        judge.take_ended()
    return scorer.score


def judge_incident(history: History) -> IncidentScore:
    """Judge an app with an incident, and let the oracle judge it where there is one."""
    judge = Judge(history.profile)
    scorer = IncidentScorer(history)
    oracle = _oracle(history)
    label = history.label
    assert label is not None
    for interval, usual, is_past in history.steps():
        verdict = judge.advance(interval, usual, is_past=is_past)
        ended = judge.take_ended()
        if not is_past:
            scorer.observe(verdict, ended)
        web = interval.types.get("web")
        is_seen = oracle is not None and web is not None and oracle.judge(web)
        if is_seen and scorer.score.oracle_delay_s is None and interval.start_s >= label.onset_s:
            scorer.score.oracle_delay_s = interval.end_s - label.first_bad_minute_end_s
    return scorer.finish()


def _oracle(history: History) -> FailingOracle | SlowOracle | None:
    rate, size = history.cell
    if history.group == "thin, failing":
        return FailingOracle(history.model, rate, size)
    if history.group == "thin, slow":
        return SlowOracle(history.model, rate, size)
    return None


def perform(task: Task) -> HealthyScore | IncidentScore:
    """Build and judge one history."""
    history = build(task)
    return judge_healthy(history) if task.group == HEALTHY else judge_incident(history)


def judge_all(tasks: list[Task], jobs: int, limit_s: float = math.inf) -> Scores:
    """Judge the histories in an order without pattern; after `limit_s`, leave out the others."""
    scores = Scores()
    shuffled = list(tasks)
    Random("order").shuffle(shuffled)
    end_s = time.monotonic() + limit_s
    for score in _perform_all(shuffled, jobs):
        if isinstance(score, HealthyScore):
            scores.healthy.append(score)
        else:
            scores.incidents.append(score)
        if time.monotonic() > end_s:
            break
    return scores


def _perform_all(tasks: list[Task], jobs: int) -> Iterator[HealthyScore | IncidentScore]:
    if jobs <= 1:
        yield from map(perform, tasks)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(perform, tasks)
