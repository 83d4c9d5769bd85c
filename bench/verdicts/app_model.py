"""A model of an app: what it does in each minute, as the judgement would read it from its rollups.

Effects (a deploy, an incident) change the conditions of the minutes that they cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.rollup.events import EventKey
from app.rollup.sketch import Bins
from bench.verdicts.response_times import ResponseTimes
from bench.verdicts.sampling import binomial, poisson, split_by, split_evenly

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 24 * HOUR_S
HABIT_SHARE_MAX = 0.08  # of requests, in a minute of an app that is all right
METRIC_LINES = 6  # of a dyno in a minute: load and memory every 20 s
ROUTER_SOURCE = "web."
NO_DYNO_CODES = frozenset({"H10", "H14", "H20", "H34", "H82"})
MONDAY_S = 1_767_571_200  # 5 January 2026, 00:00 UTC


@dataclass(slots=True)
class BadDyno:
    """How one dyno differs from the others."""

    failed_share: float = 0.0
    code: str = ""
    factor: float = 1.0


@dataclass(slots=True)
class Conditions:
    """What holds in one minute.

    rate           requests a minute
    failed_share   by code; "" for statuses 500 of the app itself
    factors        (share of the minute, factor of response times)
    up_share       share of the web dynos that are up, by dyno; 1 if not given
    """

    rate: float
    failed_share: dict[str, float]
    factors: list[tuple[float, float]]
    web: int
    workers: int
    is_silent: bool = False
    is_maintenance: bool = False
    bad_dynos: dict[str, BadDyno] = field(default_factory=dict)
    absent_dynos: set[str] = field(default_factory=set)
    memory: dict[str, float] = field(default_factory=dict)
    load_factor: float = 1.0
    codes: dict[tuple[str, str], int] = field(default_factory=dict)
    events: list[EventKey] = field(default_factory=list)
    exits: dict[tuple[str, int], int] = field(default_factory=dict)
    websockets: int = 0
    lost: int = 0
    unparsed_only: bool = False

    def slow_down(self, factor: float, share: float = 1.0) -> None:
        """Make the given share of the minute slower."""
        if share >= 1:
            self.factors = [(part, known * factor) for part, known in self.factors]
        else:
            self.factors = [(part * (1 - share), known) for part, known in self.factors] + [
                (part * share, known * factor) for part, known in self.factors
            ]

    def fail(self, share: float, code: str = "", part: float = 1.0) -> None:
        """Let a share of the requests fail in the given part of the minute."""
        self.failed_share[code] = self.failed_share.get(code, 0.0) + share * part


Effect = Callable[[int, Conditions, Random], None]  # (start of the minute, conditions, rng)


@dataclass
class FailureHabit:
    """Failures of an app that is all right: their mean share, and how they cluster.

    shape_5min, shape_minute   of gamma distributions with mean 1; 0 for none
    cluster                    mean number of failures that come together
    """

    share: float = 0.001
    shape_5min: float = 0.0
    shape_minute: float = 0.0
    cluster: float = 1.0


@dataclass
class AppModel:
    """An app.

    excused_s  minutes of restarts, which do not count for what is usual
    """

    name: str
    rng: Random
    times: ResponseTimes
    rate: float
    web: int = 2
    workers: int = 0
    cycle: float = 0.5
    weekend: float = 0.7
    phase_s: int = 0
    crowding: float = 0.1
    failures: FailureHabit = field(default_factory=FailureHabit)
    has_metrics: bool = True
    lines_per_request: float = 1.5
    worker_lines: float = 0.0
    memory: float = 0.6
    websockets: float = 0.0
    recurring: list[Effect] = field(default_factory=list)
    effects: dict[int, list[Effect]] = field(default_factory=dict)
    excused_s: set[int] = field(default_factory=set)
    _block: tuple[int, float] = (-1, 1.0)

    def add_effect(self, start_s: int, end_s: int, effect: Effect) -> None:
        """Let an effect change all minutes that overlap [start_s, end_s)."""
        first = start_s - start_s % MINUTE_S
        for at_s in range(first, end_s, MINUTE_S):
            self.effects.setdefault(at_s, []).append(effect)

    def excuse(self, start_s: int, end_s: int) -> None:
        """Leave the minutes of a restart out of what is usual."""
        self.excused_s.update(range(start_s - start_s % MINUTE_S, end_s, MINUTE_S))

    def activity(self, at_s: int) -> float:
        """The traffic at this time, where 1 is the mean of a working day."""
        wave = math.sin(2 * math.pi * (at_s + self.phase_s) / DAY_S)
        is_weekend = (at_s - MONDAY_S) // DAY_S % 7 >= 5
        return (1 + self.cycle * wave) * (self.weekend if is_weekend else 1.0)

    def conditions(self, at_s: int) -> Conditions:
        """What holds in the minute from `at_s` on."""
        rng = self.rng
        activity = self.activity(at_s)
        share = self.failures.share
        if self.failures.shape_5min:
            if self._block[0] != at_s // 300:
                shape = self.failures.shape_5min
                self._block = at_s // 300, rng.gammavariate(shape, 1 / shape)
            share *= self._block[1]
        if self.failures.shape_minute:
            shape = self.failures.shape_minute
            share *= rng.gammavariate(shape, 1 / shape)
        share = min(share, HABIT_SHARE_MAX)
        crowding = 1 + self.crowding * (activity - 1) + rng.gauss(0, 0.02)
        conditions = Conditions(
            rate=self.rate * activity,
            failed_share={"": share},
            factors=[(1.0, crowding)],
            web=self.web,
            workers=self.workers,
        )
        for effect in self.recurring:
            effect(at_s, conditions, rng)
        for effect in self.effects.get(at_s, ()):
            effect(at_s, conditions, rng)
        return conditions

    def interval(self, at_s: int) -> Interval:
        """The minute from `at_s` on."""
        conditions = self.conditions(at_s)
        if conditions.is_silent:
            events = tuple(sorted(conditions.events))
            return Interval(at_s, messages=len(events), counted=len(events), events=events)
        return Minute(self, conditions, at_s).draw()

    def past_counts(self, at_s: int) -> tuple[int, int]:
        """(requests, failed) of a minute in the past: cheaper than the interval."""
        conditions = self.conditions(at_s)
        if conditions.is_silent or conditions.is_maintenance or not conditions.web:
            return 0, 0
        requests = poisson(self.rng, conditions.rate)
        return requests, self.draw_failed(requests, sum(conditions.failed_share.values()))

    def past_bins(self, at_s: int, length_s: int = 600) -> Bins:
        """Response times of 10 minutes in the past; minute by minute only where they differ."""
        step_s = MINUTE_S if self.recurring else length_s
        bins: Bins = {}
        for start_s in range(at_s, at_s + length_s, step_s):
            conditions = self.conditions((start_s + step_s // 2) // MINUTE_S * MINUTE_S)
            count = poisson(self.rng, conditions.rate * step_s / MINUTE_S)
            for share, factor in conditions.factors:
                drawn = self.times.draw_bins(self.rng, round(count * share), factor)
                for index, times in drawn.items():
                    bins[index] = bins.get(index, 0) + times
        return bins

    def draw_failed(self, requests: int, share: float) -> int:
        """How many of the requests fail; they may come in clusters."""
        cluster = self.failures.cluster
        if cluster <= 1 or share > 0.1:
            return binomial(self.rng, requests, share)
        failed = 0
        for _ in range(poisson(self.rng, requests * share / cluster)):
            failed += 1 + int(self.rng.expovariate(1 / (cluster - 0.5)))
        return min(failed, requests)


class Minute:
    """One minute of an app while it is drawn."""

    def __init__(self, model: AppModel, conditions: Conditions, at_s: int) -> None:
        self._model = model
        self._rng = model.rng
        self._conditions = conditions
        self._at_s = at_s
        self._bins: Bins = {}
        self._failed = 0
        self._codes = dict(conditions.codes)
        self._dynos: dict[str, DynoFacts] = {}
        self._websockets = conditions.websockets

    def draw(self) -> Interval:
        """The interval."""
        conditions, rng = self._conditions, self._rng
        requests = poisson(rng, conditions.rate)
        webs = [f"web.{number}" for number in range(1, conditions.web + 1)]
        webs = [dyno for dyno in webs if dyno not in conditions.absent_dynos]
        maintenance = requests if conditions.is_maintenance else 0
        if maintenance:
            self._codes[ROUTER_SOURCE, "H80"] = maintenance
        elif webs:
            self._draw_requests(requests, webs)
        elif requests:
            code = "H14" if not conditions.web else "H10"
            self._failed = requests
            self._add_code(ROUTER_SOURCE, code, requests)
        if self._model.websockets and webs and not maintenance:
            self._websockets += poisson(rng, self._model.websockets)
        types = {}
        if (requests and not maintenance) or self._websockets:
            counted = 0 if maintenance else requests
            types["web"] = TypeFacts(counted, self._failed, self._bins, self._websockets)
        self._add_metrics([*webs, *(f"worker.{n}" for n in range(1, conditions.workers + 1))])
        return self._interval(requests, maintenance, types)

    def _interval(self, requests: int, maintenance: int, types: dict[str, TypeFacts]) -> Interval:
        conditions, model, rng = self._conditions, self._model, self._rng
        metrics = METRIC_LINES * len(self._dynos) if model.has_metrics else 0
        other = poisson(rng, requests * (model.lines_per_request - 1) + model.worker_lines)
        read = requests + self._websockets + metrics + sum(conditions.codes.values())
        read += len(conditions.events)
        if conditions.unparsed_only:
            return Interval(self._at_s, unparsed=read + other)
        return Interval(
            start_s=self._at_s,
            messages=read + other,
            counted=read,
            lost=conditions.lost,
            maintenance=maintenance,
            types=types,
            dynos=self._dynos,
            codes=self._codes,
            exits=conditions.exits,
            events=tuple(sorted(conditions.events)),
        )

    def _draw_requests(self, requests: int, webs: list[str]) -> None:
        conditions, rng = self._conditions, self._rng
        no_dyno = {
            code: share for code, share in conditions.failed_share.items() if code in NO_DYNO_CODES
        }
        for code, share in no_dyno.items():
            failed = binomial(rng, requests, min(share, 1.0))
            self._failed += failed
            self._add_code(ROUTER_SOURCE, code, failed)
            requests -= failed
        counts = dict(zip(webs, split_evenly(rng, requests, len(webs)), strict=True))
        good = [dyno for dyno in webs if dyno not in conditions.bad_dynos]
        shares = {
            code: share
            for code, share in conditions.failed_share.items()
            if share > 0 and code not in no_dyno
        }
        self._draw_group(good, [counts[dyno] for dyno in good], shares, conditions.factors)
        for dyno in webs:
            if dyno in conditions.bad_dynos:
                bad = conditions.bad_dynos[dyno]
                own = {**shares, bad.code: shares.get(bad.code, 0.0) + bad.failed_share}
                factors = [(part, factor * bad.factor) for part, factor in conditions.factors]
                self._draw_group([dyno], [counts[dyno]], own, factors)

    def _draw_group(
        self,
        dynos: list[str],
        counts: list[int],
        shares: dict[str, float],
        factors: list[tuple[float, float]],
    ) -> None:
        requests = sum(counts)
        failed_by_dyno = [0] * len(dynos)
        remaining = list(counts)
        for code, share in shares.items():
            failed = self._model.draw_failed(requests, min(share, 1.0))
            for index, part in enumerate(split_by(self._rng, failed, remaining)):
                failed_by_dyno[index] += part
                remaining[index] -= part
                if code and part:
                    self._add_code(dynos[index], code, part)
        bins, summaries = self._model.times.draw(self._rng, remaining, factors)
        if self._bins:
            for index, count in bins.items():
                self._bins[index] = self._bins.get(index, 0) + count
        else:
            self._bins = bins
        self._failed += sum(failed_by_dyno)
        for dyno, count, failed, (mean_ms, max_ms) in zip(
            dynos, counts, failed_by_dyno, summaries, strict=True
        ):
            self._dynos[dyno] = DynoFacts(count, failed, mean_ms, max_ms)

    def _add_metrics(self, dynos: list[str]) -> None:
        model, conditions, rng = self._model, self._conditions, self._rng
        if not model.has_metrics:
            return
        load = (0.1 + 0.3 * model.activity(self._at_s)) * conditions.load_factor
        for dyno in dynos:
            ratio = conditions.memory.get(dyno, model.memory) * (1 + 0.01 * rng.random())
            if ratio > 1:
                self._add_code(dyno, "R14", 3)
            known = self._dynos.get(dyno, DynoFacts())
            self._dynos[dyno] = known._replace(
                memory_ratio=ratio, load=load * (0.7 + 0.6 * rng.random())
            )

    def _add_code(self, source: str, code: str, count: int) -> None:
        if count:
            self._codes[source, code] = self._codes.get((source, code), 0) + count


def event(at_s: float, kind: str, source: str = "", detail: str = "") -> EventKey:
    """An event of the app or of a dyno."""
    return EventKey(int(at_s * 1000), kind, source, detail)


def overlap(at_s: int, start_s: float, end_s: float) -> float:
    """The share of the minute from `at_s` on that lies in [start_s, end_s)."""
    return max(0.0, min(at_s + MINUTE_S, end_s) - max(at_s, start_s)) / MINUTE_S
