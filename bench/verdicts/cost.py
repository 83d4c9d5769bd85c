"""CPU seconds of judging 200 apps for a minute."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from app.judgement.facts import AppProfile, Interval, Usual
from app.judgement.judge import Judge
from app.judgement.observe import observe_interval
from app.rollup.codec import pack, unpack
from bench.corpus import START_S
from bench.measure import cpu_s
from bench.store import minutes
from bench.verdicts.healthy import healthy_history
from bench.verdicts.history import Step

APPS = 200
MINUTES = 30
WARM_UP_MINUTES = 180
DYNOS = 4
REQUESTS_PER_MINUTE = 300
MINUTE_S = 60


def measure_cost() -> list[dict[str, object]]:
    """The cost of the judge alone, and from the bytes of stored minutes on."""
    return [
        {"what": f"judge {APPS} healthy apps of all kinds", "CPU s": round(_judge_apps(), 4)},
        {
            "what": f"unpack, observe and judge {APPS} apps of {DYNOS} dynos and"
            f" {REQUESTS_PER_MINUTE} requests a minute",
            "CPU s": round(_judge_stored(), 4),
        },
    ]


def _judge_apps() -> float:
    judges = []
    known: list[list[Step]] = []
    for number in range(APPS):
        history = healthy_history("cost 1", number)
        history.end_s = history.start_s + (WARM_UP_MINUTES + MINUTES) * MINUTE_S
        judges.append(Judge(history.profile))
        known.append(list(history.steps()))
    for judge, steps in zip(judges, known, strict=True):
        for step in steps[:-MINUTES]:
            judge.advance(step.interval, step.usual, is_past=step.is_past)

    def work() -> None:
        for minute in range(-MINUTES, 0):
            for judge, steps in zip(judges, known, strict=True):
                judge.advance(steps[minute].interval, steps[minute].usual)

    return cpu_s(work) / MINUTES


def _judge_stored() -> float:
    stored = [pack(rollup) for rollup in minutes(REQUESTS_PER_MINUTE, DYNOS, MINUTES)]
    judges = [Judge(AppProfile(f"app-{number}")) for number in range(APPS)]
    usual = Usual(history_s=30 * 86_400, failed_share={"web": 0.01}, failed_share_max={"web": 0.1})

    def advance(sources: Sequence[bytes], first_s: int) -> None:
        for number, data in enumerate(sources):
            start_s = first_s + number * MINUTE_S
            for judge in judges:
                interval = observe_interval(
                    unpack(data), int(START_S) + number % MINUTES * MINUTE_S
                )
                judge.advance(_move(interval, start_s), usual)

    first_s = int(START_S)
    advance(list(islice(cycle(stored), WARM_UP_MINUTES)), first_s)
    first_s += WARM_UP_MINUTES * MINUTE_S
    return cpu_s(lambda: advance(stored, first_s)) / MINUTES


def _move(interval: Interval, start_s: int) -> Interval:
    return interval._replace(start_s=start_s)
