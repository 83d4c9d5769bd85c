"""Histories with one incident each, and what is true of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from app.judgement.verdict import Change
from app.rollup.events import EventKey
from bench.verdicts import routine
from bench.verdicts.app_model import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    MONDAY_S,
    AppModel,
    BadDyno,
    Conditions,
    event,
    overlap,
)
from bench.verdicts.healthy import plain_model
from bench.verdicts.history import WARM_UP_S, History, Label
from bench.verdicts.response_times import Endpoint, ResponseTimes

EVENTS_PER_DAY = 25  # unrelated ones
AFTER_S = 45 * MINUTE_S  # judged after the end: until the finding is closed
FAILING = frozenset({"failing", "no_dyno"})
SLOW = frozenset({"slow"})
BAD_STATES = frozenset({"down", "degraded"})
THIN_RATES = (0.5, 1, 2, 5, 10, 20, 60)
THIN_SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
THIN_FACTORS = (1.5, 2.0, 4.0)
THIN_INCIDENT_S = HOUR_S

Onset = tuple[int, int]  # (begin, end) of an incident


def _history(
    rng: Random, name: str, group: str, model: AppModel, onset: Onset, after_s: int = AFTER_S
) -> History:
    """A history around an incident, with unrelated events before and in it."""
    start_s = onset[0] - onset[0] % MINUTE_S - rng.randint(15, 40) * MINUTE_S
    end_s = onset[1] - onset[1] % MINUTE_S + after_s
    history = History(name, group, model, start_s, end_s, rng=rng)
    at_s = start_s - WARM_UP_S
    while (at_s := at_s + int(rng.expovariate(EVENTS_PER_DAY / DAY_S)) + 1) < end_s:
        kind, detail = rng.choice(
            [
                ("config", "LOG_LEVEL"),
                ("addon", "papertrail"),
                ("note", "checked"),
                ("release", f"v{rng.randint(2, 900)}"),
                ("build", "started"),
                ("cycle", "web.1"),
            ]
        )
        if kind == "cycle":
            routine.cycle(model, "web.1", at_s, rng)
        else:
            routine.app_event(model, at_s, kind, detail)
    return history


def _onset(rng: Random, shortest_s: int = 15 * MINUTE_S, longest_s: int = 40 * MINUTE_S) -> Onset:
    onset_s = MONDAY_S + 40 * DAY_S + rng.randrange(7 * DAY_S)
    return onset_s, onset_s + rng.randint(shortest_s, longest_s)


def _cause(rng: Random, model: AppModel, onset_s: int) -> Change | None:
    """In half of the incidents: a change shortly before the onset, with its restart."""
    if rng.random() < 0.5:
        return None
    lag_s = rng.randint(15, 120) if rng.random() < 0.8 else rng.randint(120, 300)
    at_s = onset_s - lag_s
    kind, detail = rng.choice(
        [
            ("release", "v901"),
            ("release", "v901"),
            ("config", "STRIPE_KEY"),
            ("scale", "web@2:Standard-1X"),
        ]
    )
    up_s = at_s + 3 + min(lag_s, 20)

    def change(minute_s: int, conditions: Conditions, _: Random) -> None:
        events: list[EventKey] = [event(at_s, kind, "", detail)]
        if kind == "release":
            events.append(event(at_s - 1, "deploy", "", "0badc0de"))
        if kind == "config":
            events.append(event(at_s + 1, "release", "", "v901"))
        for number in range(1, model.web + 1):
            dyno = f"web.{number}"
            if kind != "scale":
                events += [event(at_s + 2, "restart", dyno), event(up_s, "up", dyno)]
        routine.add_events(conditions, minute_s, events)

    model.add_effect(at_s - MINUTE_S, up_s + MINUTE_S, change)
    return Change(at_s, kind, detail)


def _fail(model: AppModel, onset: Onset, share: float, code: str = "") -> None:
    def fail(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.fail(share, code, overlap(minute_s, *onset))

    model.add_effect(*onset, fail)


def _slow(model: AppModel, onset: Onset, factor: float) -> None:
    def slow(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.slow_down(factor, overlap(minute_s, *onset))

    model.add_effect(*onset, slow)


def _crash_web(model: AppModel, onset: Onset) -> None:
    """All web dynos crash, and again whenever Heroku starts them."""
    webs = [f"web.{number}" for number in range(1, model.web + 1)]
    starts = [onset[0] + delay for delay in (12, 10 * 60, 30 * 60) if onset[0] + delay < onset[1]]
    events: list[EventKey] = []
    for dyno in webs:
        for at_s in (onset[0], *(start_s + 9 for start_s in starts)):
            events += [event(at_s, "exit", dyno, "1"), event(at_s, "crash", dyno)]
        events += [event(start_s, "restart", dyno) for start_s in starts]
        events.append(event(onset[1], "up", dyno))

    def crash(minute_s: int, conditions: Conditions, _: Random) -> None:
        routine.add_events(conditions, minute_s, events)
        part = overlap(minute_s, *onset)
        if part >= 1:
            conditions.absent_dynos.update(webs)
        elif part > 0:
            conditions.fail(1.0, "H10", part)
        for found in conditions.events:
            if found.kind == "exit":
                key = found.source, int(found.detail)
                conditions.exits[key] = conditions.exits.get(key, 0) + 1

    model.add_effect(onset[0], onset[1] + MINUTE_S, crash)


def _web_model(rng: Random, name: str, rate: float, web: int = 0) -> AppModel:
    """An app for an incident: its p95 is high enough that twice of it matters."""
    model = plain_model(rng, name, rate, web or rng.randint(2, 4))
    model.cycle = min(model.cycle, 0.4)
    model.weekend = 1.0
    median_ms = rng.uniform(60, 250)
    model.times = ResponseTimes(
        [Endpoint(0.75, median_ms, 0.5), Endpoint(0.25, median_ms * 2.5, 0.5)]
    )
    return model


def _rate_at(model: AppModel, onset_s: int, rate_min: float) -> None:
    """Raise the rate so that the incident has at least so many requests a minute."""
    lowest = min(model.activity(onset_s), model.activity(onset_s + HOUR_S))
    model.rate = max(model.rate, 1.1 * rate_min / max(lowest, 0.05))


def strong(rng: Random, name: str) -> History:
    """At least half of the requests fail, or p95 is 4 times as high; from 20 requests a minute."""
    onset = _onset(rng)
    model = _web_model(rng, name, rng.choice((20, 40, 100, 400, 2_000)) * rng.uniform(1, 2))
    _rate_at(model, onset[0], 20)
    history = _history(rng, name, "strong", model, onset)
    change = _cause(rng, model, onset[0])
    scenario = rng.choice(("500s", "500s", "H12", "crash", "slow", "slow"))
    if scenario == "slow":
        _slow(model, onset, rng.uniform(4, 10))
        history.label = Label("p95 × 4", SLOW, BAD_STATES, *onset, change=change)
        return history
    share = 1.0 if scenario == "crash" else rng.choice((rng.uniform(0.5, 0.9), 1.0))
    if scenario == "crash":
        _crash_web(model, onset)
    else:
        _fail(model, onset, share, "H12" if scenario == "H12" else "")
    states = frozenset({"down"}) if share > 0.65 else BAD_STATES
    history.label = Label(
        f"≥ 50 % {scenario}", FAILING | {"crash_loop"}, states, *onset, change=change
    )
    return history


def mild(rng: Random, name: str) -> History:
    """10 % fail from 60 requests a minute on, or p95 × 2 from 100 a minute on."""
    onset = _onset(rng)
    is_slow = rng.random() < 0.5
    rate = (100 if is_slow else 60) * rng.choice((1, 1, 3, 10)) * rng.uniform(1, 1.5)
    model = _web_model(rng, name, rate)
    _rate_at(model, onset[0], 100 if is_slow else 60)
    history = _history(rng, name, "mild", model, onset)
    change = _cause(rng, model, onset[0])
    states = frozenset({"degraded"})
    if is_slow:
        _slow(model, onset, rng.uniform(2.0, 2.6))
        history.label = Label("p95 × 2", SLOW, states, *onset, change=change)
    else:
        _fail(model, onset, rng.uniform(0.1, 0.15), rng.choice(("", "H12", "H18")))
        history.label = Label("10 % fail", FAILING, states, *onset, change=change)
    return history


def bad_dyno(rng: Random, name: str) -> History:
    """One dyno of several fails or is slow."""
    onset = _onset(rng)
    web = rng.randint(2, 8)
    model = _web_model(rng, name, web * rng.choice((20, 60, 200)) * rng.uniform(1, 1.5), web)
    _rate_at(model, onset[0], 20 * web)
    history = _history(rng, name, "one dyno", model, onset)
    dyno = f"web.{rng.randint(1, web)}"
    is_slow = rng.random() < 0.5
    bad = BadDyno(factor=rng.uniform(5, 12)) if is_slow else BadDyno(rng.uniform(0.5, 1), "H12")

    def spoil(minute_s: int, conditions: Conditions, _: Random) -> None:
        part = overlap(minute_s, *onset)
        conditions.bad_dynos[dyno] = BadDyno(
            bad.failed_share * part, bad.code, 1 + (bad.factor - 1) * part
        )

    model.add_effect(*onset, spoil)
    name = "one dyno slow" if is_slow else "one dyno fails"
    history.label = Label(name, SLOW if is_slow else FAILING, BAD_STATES, *onset, dynos=(dyno,))
    return history


def crash_loop(rng: Random, name: str) -> History:
    """A worker crashes, and again whenever Heroku starts it."""
    onset = _onset(rng, 35 * MINUTE_S, 60 * MINUTE_S)
    model = plain_model(rng, name, rng.uniform(2, 100), 2, workers=1)
    history = _history(rng, name, "others", model, onset)
    change = _cause(rng, model, onset[0])
    delays = (0, 21, 10 * 60, 30 * 60)
    crashes = [onset[0] + delay for delay in delays if onset[0] + delay < onset[1]]
    events = [event(at_s, "crash", "worker.1") for at_s in crashes]
    events += [event(at_s, "exit", "worker.1", "1") for at_s in crashes]
    events += [event(at_s - 9, "restart", "worker.1") for at_s in crashes[1:]]
    events.append(event(onset[1], "up", "worker.1"))

    def crash(minute_s: int, conditions: Conditions, _: Random) -> None:
        routine.add_events(conditions, minute_s, events)
        conditions.workers = 1 if overlap(minute_s, *onset) < 1 else 0
        for at_s in crashes:
            if minute_s <= at_s < minute_s + MINUTE_S:
                key = "worker.1", 1
                conditions.exits[key] = conditions.exits.get(key, 0) + 1

    model.add_effect(onset[0], onset[1] + MINUTE_S, crash)
    kinds = frozenset({"crash_loop"})
    history.label = Label("worker crash loop", kinds, BAD_STATES, *onset, change=change)
    return history


def memory_over(rng: Random, name: str) -> History:
    """A dyno exceeds its memory quota, and never did before."""
    onset = _onset(rng, 30 * MINUTE_S, 60 * MINUTE_S)
    model = plain_model(rng, name, rng.uniform(2, 200), rng.randint(2, 4))
    history = _history(rng, name, "others", model, onset)
    change = _cause(rng, model, onset[0])

    def exceed(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.memory["web.1"] = 1.05 + 0.1 * overlap(minute_s, *onset)

    model.add_effect(*onset, exceed)
    kinds = frozenset({"memory_exceeded"})
    history.label = Label("R14", kinds, BAD_STATES, *onset, dynos=("web.1",), change=change)
    return history


def leak(rng: Random, name: str) -> History:
    """The memory of all dynos rises until it exceeds the quota."""
    onset = _onset(rng, 100 * MINUTE_S, 170 * MINUTE_S)
    model = plain_model(rng, name, rng.uniform(2, 200), 2)
    model.memory = 0.5
    history = _history(rng, name, "others", model, onset)
    length_s = onset[1] - onset[0]

    def rise(minute_s: int, conditions: Conditions, _: Random) -> None:
        ratio = 0.5 + 0.65 * max(0.0, minute_s - onset[0]) / length_s
        conditions.memory = {"web.1": ratio, "web.2": ratio * 0.97}

    model.add_effect(*onset, rise)
    kinds = frozenset({"memory_high", "memory_exceeded"})
    states = frozenset({"degraded", "ok"})
    history.label = Label("memory leak", kinds, states, *onset)
    return history


def silence(rng: Random, name: str) -> History:
    """Nothing is heard any more."""
    onset = _onset(rng, 40 * MINUTE_S, 60 * MINUTE_S)
    model = plain_model(rng, name, rng.choice((0.2, 5, 60, 400)))
    history = _history(rng, name, "others", model, onset)
    model.effects = {at_s: known for at_s, known in model.effects.items() if at_s < onset[0]}
    first_s = onset[0] - onset[0] % MINUTE_S + MINUTE_S
    routine.vanish(model, first_s, onset[1])
    kinds = frozenset({"silent"})
    history.label = Label("silence", kinds, frozenset({"silent"}), first_s, onset[1])
    return history


def crash_thin(rng: Random, name: str) -> History:
    """All dynos of a rarely used app crash: each of its few requests gets H10."""
    onset = _onset(rng, 30 * MINUTE_S, 60 * MINUTE_S)
    model = plain_model(rng, name, rng.choice((0.2, 0.5, 1, 3)), rng.randint(1, 2))
    history = _history(rng, name, "others", model, onset, 75 * MINUTE_S)
    change = _cause(rng, model, onset[0])
    _crash_web(model, onset)
    kinds = FAILING | {"crash_loop"}
    history.label = Label("H10, thin traffic", kinds, frozenset({"down"}), *onset, change=change)
    return history


def ramp(rng: Random, name: str) -> History:
    """It becomes worse over 20 minutes: the onset is where 10 % fail, or times have doubled."""
    begin = _onset(rng, 40 * MINUTE_S, 60 * MINUTE_S)
    model = _web_model(rng, name, rng.uniform(60, 400))
    _rate_at(model, begin[0], 60)
    is_slow = rng.random() < 0.5
    rise_s = 20 * MINUTE_S

    def worsen(minute_s: int, conditions: Conditions, _: Random) -> None:
        progress = min(max(0.0, minute_s - begin[0]) / rise_s, 1.0)
        if is_slow:
            conditions.slow_down(1 + 4 * progress)
        else:
            conditions.fail(0.6 * progress)

    model.add_effect(*begin, worsen)
    onset = begin[0] + int(rise_s * (1 / 4 if is_slow else 1 / 6)), begin[1]
    history = _history(rng, name, "others", model, onset)
    history.start_s -= 10 * MINUTE_S
    name = "slower and slower" if is_slow else "more and more fail"
    history.label = Label(name, SLOW if is_slow else FAILING, BAD_STATES, *onset)
    return history


def intermittent(rng: Random, name: str) -> History:
    """Three runs of failures with breaks of 5 to 8 minutes: one incident."""
    onset_s, _ = _onset(rng)
    model = _web_model(rng, name, rng.uniform(40, 400))
    _rate_at(model, onset_s, 30)
    at_s = onset_s
    for _ in range(3):
        run = at_s, at_s + rng.randint(5 * MINUTE_S, 8 * MINUTE_S)
        _fail(model, run, rng.uniform(0.3, 0.8))
        at_s = run[1] + rng.randint(5 * MINUTE_S, 8 * MINUTE_S)
    history = _history(rng, name, "others", model, (onset_s, run[1]))
    history.label = Label("comes and goes", FAILING, BAD_STATES, onset_s, run[1])
    return history


def unreadable(rng: Random, name: str) -> History:
    """Lines arrive, but nothing in them can be read."""
    onset = _onset(rng, 30 * MINUTE_S, 50 * MINUTE_S)
    model = plain_model(rng, name, rng.uniform(5, 200))
    history = _history(rng, name, "others", model, onset)

    def garble(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.unparsed_only = overlap(minute_s, *onset) >= 1

    model.add_effect(*onset, garble)
    first_s = onset[0] - onset[0] % MINUTE_S + MINUTE_S
    kinds = frozenset({"unreadable"})
    history.label = Label("unreadable", kinds, frozenset({"unreadable"}), first_s, onset[1])
    return history


OTHERS: tuple[Callable[[Random, str], History], ...] = (
    crash_loop, memory_over, leak, silence, crash_thin, ramp, intermittent, unreadable,
)  # fmt: skip


def other(rng: Random, name: str) -> History:
    """One of the rarer incidents."""
    return OTHERS[int(name.rpartition("-")[2]) % len(OTHERS)](rng, name)


def thin_model(rng: Random, name: str, rate: float) -> AppModel:
    """A plain app with so many requests a minute, at any hour, and few failures."""
    model = _web_model(rng, name, rate, 2)
    model.cycle = 0.0
    model.crowding = 0.0
    model.failures.share = 0.002
    model.failures.shape_5min = model.failures.shape_minute = 0.0
    model.failures.cluster = 1.0
    return model


def thin_failing(rng: Random, name: str) -> History:
    """Thin traffic, of which a share fails."""
    number = int(name.rpartition("-")[2])
    rate = THIN_RATES[number % len(THIN_RATES)]
    share = THIN_SHARES[number // len(THIN_RATES) % len(THIN_SHARES)]
    onset_s = MONDAY_S + 40 * DAY_S + rng.randrange(7 * 24 * 60) * MINUTE_S
    onset = onset_s, onset_s + THIN_INCIDENT_S
    model = thin_model(rng, name, rate)
    _fail(model, onset, share)
    history = History(name, "thin, failing", model, onset_s - 600, onset[1], rng=rng)
    history.label = Label("thin, failing", FAILING, BAD_STATES, *onset)
    history.cell = rate, share
    return history


def thin_slow(rng: Random, name: str) -> History:
    """Thin traffic that becomes slower."""
    number = int(name.rpartition("-")[2])
    rate = THIN_RATES[number % len(THIN_RATES)]
    factor = THIN_FACTORS[number // len(THIN_RATES) % len(THIN_FACTORS)]
    onset_s = MONDAY_S + 40 * DAY_S + rng.randrange(7 * 24 * 60) * MINUTE_S
    onset = onset_s, onset_s + THIN_INCIDENT_S
    model = thin_model(rng, name, rate)
    _slow(model, onset, factor)
    history = History(name, "thin, slow", model, onset_s - 600, onset[1], rng=rng)
    history.label = Label("thin, slow", SLOW, BAD_STATES, *onset)
    history.cell = rate, factor
    return history


GROUPS: dict[str, Callable[[Random, str], History]] = {
    "strong": strong,
    "mild": mild,
    "one dyno": bad_dyno,
    "others": other,
    "thin, failing": thin_failing,
    "thin, slow": thin_slow,
}


def incident_history(seed: str, group: str, number: int) -> History:
    """The history with this number in its group."""
    name = f"{group.replace(', ', '-').replace(' ', '-')}-{number}"
    return GROUPS[group](Random(f"{seed} {group} {number}"), name)
