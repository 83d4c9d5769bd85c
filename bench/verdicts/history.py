"""A labelled history: an app, what is judged of it, and what is true."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from app.judgement.facts import AppProfile, Interval, Usual
from app.judgement.verdict import Change
from bench.verdicts.app_model import DAY_S, HOUR_S, MINUTE_S, AppModel
from bench.verdicts.sampling import binomial
from bench.verdicts.usual_builder import SLOT_S, UsualBuilder

WARM_UP_S = 2 * HOUR_S
WEEK_S = 7 * DAY_S


@dataclass(frozen=True)
class Label:
    """What is wrong with an app, and from when to when.

    name      of the scenario
    kinds     the kinds of findings that tell of it
    states    the states that are right for it
    onset_s   when it began, to the second; end_s when it was over
    dynos     those that are bad; empty if all are alike
    change    the event that caused it; None if there was none
    """

    name: str
    kinds: frozenset[str]
    states: frozenset[str]
    onset_s: int
    end_s: int
    dynos: tuple[str, ...] = ()
    change: Change | None = None

    @property
    def first_bad_minute_end_s(self) -> int:
        """The end of the first minute that is bad as a whole."""
        return math.ceil(self.onset_s / MINUTE_S) * MINUTE_S + MINUTE_S


class Step(NamedTuple):
    """One minute of a history: what the judge is given."""

    interval: Interval
    usual: Usual
    is_past: bool


@dataclass
class History:
    """An app that is judged from `start_s` to `end_s`; without a label it is all right.

    group        the table that it is counted in
    is_young     nothing of it is known before start_s
    past_heard   share of minutes heard in the past, if it does not follow from its lines
    cell         (requests a minute, size) in the tables of thin traffic
    """

    name: str
    group: str
    model: AppModel
    start_s: int
    end_s: int
    label: Label | None = None
    is_young: bool = False
    is_review_app: bool = False
    past_heard: float | None = None
    deploys: int = 0
    cell: tuple[float, float] = (0.0, 0.0)
    rng: Random = field(default_factory=Random)

    @property
    def profile(self) -> AppProfile:
        """What the judge is told of the app."""
        return AppProfile(
            app=self.name,
            first_seen_s=self.start_s if self.is_young else self.start_s - 30 * DAY_S,
            is_review_app=self.is_review_app,
        )

    def steps(self) -> Iterator[Step]:
        """Yield minute after minute, first WARM_UP_S of the past."""
        builder = UsualBuilder(self.profile.first_seen_s)
        at_s = self.start_s
        if not self.is_young:
            at_s -= WARM_UP_S
            self._fill_past(builder, at_s)
        label = self.label
        while at_s < self.end_s:
            interval = self.model.interval(at_s)
            yield Step(interval, builder.usual(at_s), at_s < self.start_s)
            is_incident = label is not None and label.onset_s < at_s + MINUTE_S < label.end_s + 120
            builder.add(interval, is_excused=is_incident or at_s in self.model.excused_s)
            at_s += MINUTE_S

    def _fill_past(self, builder: UsualBuilder, until_s: int) -> None:
        """The day before, and the same hours of last week; heard minutes of the whole week."""
        model = self.model
        first_s = self.start_s - DAY_S
        for at_s in range(first_s, until_s, MINUTE_S):
            if at_s not in model.excused_s:
                builder.add_counts(at_s, *model.past_counts(at_s))
        self._fill_quota_minutes(builder, first_s, until_s)
        week_first_s = self.start_s - WEEK_S - 2 * HOUR_S
        for at_s in range(week_first_s, self.end_s - WEEK_S + 2 * HOUR_S, SLOT_S):
            builder.add_times(at_s, model.past_bins(at_s))
        one_day = self.end_s - self.start_s < DAY_S  # only these hours of yesterday matter then
        day_until_s = self.end_s - DAY_S + 2 * HOUR_S if one_day else until_s
        for at_s in range(first_s - 2 * HOUR_S, min(day_until_s, until_s), SLOT_S):
            builder.add_times(at_s, model.past_bins(at_s))
        until_hour_s = until_s - until_s % HOUR_S
        for hour_s in range(until_hour_s - 8 * DAY_S, until_hour_s, HOUR_S):
            builder.add_heard(hour_s, self._minutes_heard(hour_s))

    def _minutes_heard(self, hour_s: int) -> int:
        if self.past_heard is not None:
            spread = min(max(self.rng.gauss(self.past_heard, 0.15), 0.0), 1.0)
            return round(60 * spread)
        if self.model.has_metrics and self.model.web + self.model.workers:
            return 60
        lines = self.model.rate * self.model.activity(hour_s) + self.model.worker_lines
        return binomial(self.rng, 60, 1 - math.exp(-lines))

    def _fill_quota_minutes(self, builder: UsualBuilder, first_s: int, until_s: int) -> None:
        """Minutes with R14 of the day before, looked at every 10 minutes."""
        if not self.model.has_metrics:
            return
        for hour_s in range(first_s - first_s % HOUR_S, until_s, HOUR_S):
            minutes: dict[str, int] = {}
            for at_s in range(hour_s, hour_s + HOUR_S, SLOT_S):
                memory = self.model.conditions(at_s).memory
                for process_type in {dyno.partition(".")[0] for dyno in memory if memory[dyno] > 1}:
                    minutes[process_type] = minutes.get(process_type, 0) + 10
            for process_type, count in minutes.items():
                builder.add_quota_minutes(hour_s, process_type, count)
