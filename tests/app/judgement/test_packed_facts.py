"""Intervals of the past take little memory, and judge as those that they were made of."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.judgement.window
from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.judgement.judge import Judge
from app.judgement.packed_facts import pack_interval
from app.judgement.verdict import Episode, Verdict
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from app.rollup.sketch import BIN_COUNT, bin_of
from tests.app.judgement.scenes import PROFILE, USUAL, at

COUNTS = st.integers(0, 2**40)
VALUES = st.none() | st.floats(0, 1e9) | st.integers(0, 5_000_000).map(lambda n: n / 1_000_000)
NAMES = st.sampled_from(("web.1", "web.2", "worker.1", "web.10", "run.9876"))
TYPES = st.builds(
    TypeFacts,
    COUNTS,
    COUNTS,
    st.dictionaries(st.integers(0, BIN_COUNT - 1), COUNTS, max_size=30),
    COUNTS,
    st.dictionaries(st.integers(0, 599), COUNTS, max_size=3),
)
DYNOS = st.builds(DynoFacts, COUNTS, COUNTS, VALUES, st.none() | COUNTS, VALUES, VALUES)
INTERVALS = st.builds(
    Interval,
    st.integers(0, 2**33),
    st.sampled_from((60, 600, 3600)),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.dictionaries(st.sampled_from(("web", "", "api")), TYPES, max_size=2),
    st.dictionaries(NAMES, DYNOS, max_size=5),
    st.dictionaries(st.tuples(NAMES, st.sampled_from(("H12", "R14"))), COUNTS, max_size=3),
    st.dictionaries(st.tuples(NAMES, st.integers(-1, 300)), COUNTS, max_size=3),
    st.just((EventKey(1, "up", "web.1", ""),)) | st.just(()),
    st.booleans(),
    st.none(),
)


@settings(max_examples=200, deadline=None)
@given(INTERVALS)
def test_a_packed_interval_has_the_same_facts(interval: Interval) -> None:
    for packed in (pack_interval(interval), pack_interval(pack_interval(interval))):
        for name in Interval._fields:
            assert getattr(packed, name) == getattr(interval, name), name
        assert packed.is_heard == interval.is_heard
        assert packed.end_s == interval.end_s


class Course:
    """Minutes of an app with three dynos, one of which is worse for a while."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.rate = self.rng.choice((4, 40))
        self.failed_share = self.rng.choice((0.0, 0.3, 1.0))
        self.slowness = self.rng.choice((1, 5))
        self.leak = self.rng.choice((0.0, 0.003))

    def minutes(self, count: int) -> list[Interval]:
        return [self.minute(number) for number in range(count)]

    def minute(self, number: int) -> Interval:
        is_bad = 80 <= number < 100
        dynos, times, failed_count, requests = {}, dict[int, int](), 0, 0
        for position in (1, 2, 3):
            is_worse = is_bad and position == 2
            times_ms = [
                self.rng.lognormvariate(5, 0.4) * (self.slowness if is_worse else 1)
                for _ in range(self.rng.randrange(1, self.rate))
            ]
            failed = [
                self.rng.random() < (self.failed_share if is_worse else 0.01) for _ in times_ms
            ]
            answered_ms = [
                int(ms) for ms, is_failed in zip(times_ms, failed, strict=True) if not is_failed
            ]
            for ms in answered_ms:
                times[bin_of(ms)] = times.get(bin_of(ms), 0) + 1
            requests += len(failed)
            failed_count += sum(failed)
            dynos[f"web.{position}"] = DynoFacts(
                len(failed),
                sum(failed),
                sum(answered_ms) / len(answered_ms) if answered_ms else None,
                max(answered_ms, default=None),
                0.6 + self.leak * number + self.rng.random() / 100,
                self.rng.random(),
            )
        start_s = at("09:00") + number * MINUTE_S
        events: tuple[EventKey, ...] = ()
        if self.rng.random() < 0.02:
            kind = self.rng.choice(("crash", "up", "restart", "down", "release"))
            events = (EventKey(start_s * 1000 + 5000, kind, "web.1", "v7"),)
        return Interval(
            start_s,
            messages=self.rate,
            types={"web": TypeFacts(requests, failed_count, times, 0, {500: failed_count})},
            dynos=dynos,
            codes={("web.2", "R14"): 2} if is_bad and self.leak else {},
            events=events,
        )


def judge_all(intervals: list[Interval]) -> tuple[list[Verdict], list[Episode]]:
    judge = Judge(PROFILE)
    return [judge.advance(interval, USUAL) for interval in intervals], judge.take_ended()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100_000))
def test_packed_minutes_give_the_same_verdicts(seed: int) -> None:
    intervals = Course(seed).minutes(190)
    packed = judge_all(intervals)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.judgement.window, "pack_interval", lambda interval: interval)
        assert judge_all(intervals) == packed
