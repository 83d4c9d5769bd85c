"""Histories of apps that are all right, of many kinds: whatever is found in them is false."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from bench.verdicts import routine
from bench.verdicts.app_model import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    MONDAY_S,
    AppModel,
    FailureHabit,
)
from bench.verdicts.history import History
from bench.verdicts.response_times import Endpoint, ResponseTimes

DAYS = 3  # judged of each app
DEPLOYS_PER_DAY = (0.5, 2, 4, 6, 12)


def plain_model(rng: Random, name: str, rate: float, web: int = 2, **options: object) -> AppModel:
    """An app with a few kinds of endpoints, a daily cycle, and some failures."""
    median_ms = rng.lognormvariate(4.1, 0.6)
    endpoints = [
        Endpoint(0.7, median_ms, rng.uniform(0.3, 0.7)),
        Endpoint(0.25, median_ms * rng.uniform(2, 5), rng.uniform(0.4, 0.8)),
        Endpoint(0.05 * rng.random(), median_ms * rng.uniform(8, 40), 0.6),
    ]
    model = AppModel(
        name,
        rng,
        ResponseTimes(endpoints),
        rate,
        web,
        cycle=rng.uniform(0.1, 0.8),
        weekend=rng.uniform(0.4, 1.1),
        phase_s=rng.randrange(DAY_S),
        crowding=rng.uniform(0, 0.25),
        failures=_habit(rng),
        memory=rng.uniform(0.3, 0.9),
    )
    for option, value in options.items():
        setattr(model, option, value)
    return model


def _habit(rng: Random) -> FailureHabit:
    """Failures: none to 1.5 %; half of the apps have them one by one, the others in clusters."""
    share = rng.choice(
        (0.0, rng.uniform(0, 0.002), rng.uniform(0.001, 0.006), rng.uniform(0.005, 0.015))
    )
    if rng.random() < 0.5:
        return FailureHabit(share)
    return FailureHabit(
        share,
        shape_5min=rng.choice((0.0, 1.0, 3.0)),
        shape_minute=rng.choice((0.0, 0.5, 2.0)),
        cluster=rng.choice((1.0, 2.0, 4.0)),
    )


def steady(rng: Random, name: str) -> History:
    """A small app with even traffic."""
    return _history(rng, plain_model(rng, name, rng.uniform(5, 60)))


def medium(rng: Random, name: str) -> History:
    """Hundreds of requests a minute."""
    return _history(
        rng, plain_model(rng, name, rng.uniform(100, 800), rng.randint(2, 6), workers=1)
    )


def busy(rng: Random, name: str) -> History:
    """Thousands of requests a minute."""
    return _history(
        rng, plain_model(rng, name, rng.uniform(1_500, 4_000), rng.randint(4, 10), workers=2)
    )


def thin(rng: Random, name: str) -> History:
    """From two requests an hour to two a minute, with runtime metrics."""
    return _history(rng, plain_model(rng, name, rng.choice((2 / 60, 0.2, 1, 2)), 1))


def thin_mute(rng: Random, name: str) -> History:
    """The same without runtime metrics: most minutes are silent."""
    rate = rng.choice((2 / 60, 0.1, 0.5, 1, 2, 5))
    return _history(rng, plain_model(rng, name, rate, 1, has_metrics=False))


def worker_only(rng: Random, name: str) -> History:
    """No requests; runtime metrics and the lines of workers."""
    model = plain_model(
        rng, name, 0.0, 0, workers=rng.randint(1, 4), worker_lines=rng.uniform(0, 30)
    )
    return _history(rng, model)


def worker_mute(rng: Random, name: str) -> History:
    """A worker without runtime metrics that logs now and then."""
    model = plain_model(
        rng, name, 0.0, 0, workers=1, worker_lines=rng.choice((0.02, 0.3, 3.0)), has_metrics=False
    )
    return _history(rng, model)


def review(rng: Random, name: str) -> History:
    """A review app, gone after some hours."""
    history = _history(rng, plain_model(rng, f"{name}-pr-7", rng.uniform(0.05, 2), 1), young=True)
    history.is_review_app = True
    gone_s = history.start_s + int(rng.uniform(3, 60) * HOUR_S)
    routine.vanish(history.model, gone_s, history.end_s)
    return history


def eco(rng: Random, name: str) -> History:
    """An Eco app that sleeps after 30 minutes without a request."""
    model = plain_model(rng, name, rng.uniform(0.1, 1), 1)
    history = _history(rng, model, deploys_per_day=1)
    history.past_heard = rng.uniform(0.2, 0.8)
    at_s = history.start_s - DAY_S
    while at_s < history.end_s:
        awake_s = int(rng.expovariate(1 / 4_000)) + 1_800
        asleep_s = int(rng.expovariate(1 / 9_000)) + 600
        routine.eco_sleep(model, at_s + awake_s, at_s + awake_s + asleep_s, rng)
        at_s += awake_s + asleep_s
    return history


def cron(rng: Random, name: str) -> History:
    """A job makes the app slow for some minutes of each hour."""
    model = plain_model(rng, name, rng.uniform(20, 400))
    model.recurring.append(
        routine.hourly_job(rng.randrange(60), rng.randint(2, 6), rng.uniform(1.5, 5))
    )
    return _history(rng, model)


def bursty(rng: Random, name: str) -> History:
    """Traffic that multiplies for some minutes, and failures in clusters."""
    model = plain_model(rng, name, rng.uniform(10, 300), 3)
    model.failures = FailureHabit(
        rng.uniform(0.002, 0.015),
        rng.choice((0.7, 1, 3)),
        rng.choice((0.5, 1, 2)),
        rng.choice((1, 3, 6)),
    )
    history = _history(rng, model)
    for _ in range(4 * (DAYS + 1)):
        start_s = history.start_s + rng.randrange(-DAY_S, DAYS * DAY_S)
        end_s = start_s + rng.randint(120, 2_400)
        burst = routine.traffic_burst(start_s, end_s, rng.uniform(2, 8), rng.uniform(1, 1.3))
        model.add_effect(start_s, end_s, burst)
    return history


def websockets(rng: Random, name: str) -> History:
    """WebSockets, some of which end with H15."""
    model = plain_model(rng, name, rng.uniform(10, 200), websockets=rng.uniform(1, 30))
    model.recurring.append(routine.idle_websockets(rng.uniform(0.02, 1.0)))
    return _history(rng, model)


def maintained(rng: Random, name: str) -> History:
    """Maintenance windows, of some minutes to some hours."""
    history = _history(rng, plain_model(rng, name, rng.uniform(1, 200)))
    for day in range(DAYS):
        start_s = history.start_s + day * DAY_S + rng.randrange(HOUR_S, DAY_S - 4 * HOUR_S)
        routine.maintenance(history.model, start_s, start_s + rng.randint(200, 3 * HOUR_S))
    return history


def scaled(rng: Random, name: str) -> History:
    """More dynos by day; some apps are scaled to zero by night."""
    model = plain_model(rng, name, rng.uniform(2, 300), rng.randint(1, 4))
    history = _history(rng, model, deploys_per_day=2)
    night_web = rng.choice((0, 0, 1, 8))
    first_s = history.start_s - history.start_s % DAY_S - DAY_S
    for day in range(DAYS + 2):
        start_s = first_s + day * DAY_S + 21 * HOUR_S + rng.randrange(600)
        routine.scale(model, start_s, start_s + 9 * HOUR_S, night_web)
    return history


def young(rng: Random, name: str) -> History:
    """An app with less than a day of history when its judgement begins."""
    return _history(rng, plain_model(rng, name, rng.choice((0.5, 5, 40, 200))), young=True)


def client_caused(rng: Random, name: str) -> History:
    """Clients that break off, in bursts."""
    history = _history(rng, plain_model(rng, name, rng.uniform(10, 300)))
    for _ in range(6 * DAYS):
        start_s = history.start_s + rng.randrange(DAYS * DAY_S)
        code = rng.choice(("H27", "H28", "H26", "H31", "H32", "H18"))
        routine.client_errors(
            history.model, start_s, start_s + rng.randint(60, 1_800), code, rng.uniform(0.02, 0.5)
        )
    return history


def chronic(rng: Random, name: str) -> History:
    """Always over its memory quota (R14)."""
    model = plain_model(rng, name, rng.uniform(5, 200), 3)
    dynos = [f"web.{number}" for number in range(1, rng.randint(2, 4))]
    model.recurring.append(routine.chronic_memory(dynos, rng.uniform(1.02, 1.3)))
    return _history(rng, model)


def cliff(rng: Random, name: str) -> History:
    """Slow endpoints with about 5 % of the requests: p95 lies on a cliff."""
    median_ms = rng.uniform(30, 120)
    times = ResponseTimes(
        [
            Endpoint(1 - (slow := rng.uniform(0.02, 0.08)), median_ms, 0.5),
            Endpoint(slow, median_ms * rng.uniform(15, 60), 0.5),
        ]
    )
    return _history(rng, plain_model(rng, name, rng.uniform(3, 300), times=times))


def lossy(rng: Random, name: str) -> History:
    """Heroku loses lines now and then (L10)."""
    history = _history(rng, plain_model(rng, name, rng.uniform(50, 2_000), 4))
    for _ in range(5 * DAYS):
        start_s = history.start_s + rng.randrange(DAYS * DAY_S)
        routine.lose_lines(
            history.model, start_s, start_s + rng.randint(30, 600), rng.uniform(0.01, 0.6)
        )
    return history


KINDS: dict[str, tuple[Callable[[Random, str], History], int]] = {
    "steady": (steady, 4),
    "medium": (medium, 3),
    "busy": (busy, 1),
    "thin": (thin, 3),
    "thin, no metrics": (thin_mute, 3),
    "workers": (worker_only, 1),
    "workers, no metrics": (worker_mute, 1),
    "review apps": (review, 1),
    "Eco": (eco, 2),
    "hourly jobs": (cron, 2),
    "bursts": (bursty, 3),
    "WebSockets": (websockets, 1),
    "maintenance": (maintained, 1),
    "scaled": (scaled, 2),
    "young": (young, 2),
    "client errors": (client_caused, 1),
    "chronic R14": (chronic, 1),
    "slow endpoints": (cliff, 2),
    "lost lines": (lossy, 1),
}  # kind -> (builder, weight)


def healthy_history(seed: str, number: int) -> History:
    """The history with this number; the kinds take turns."""
    turns = [kind for kind, (_, weight) in KINDS.items() for _ in range(weight)]
    kind = turns[number % len(turns)]
    history = KINDS[kind][0](Random(f"{seed} healthy {number}"), f"healthy-{number}")
    history.group = kind
    return history


def _history(
    rng: Random, model: AppModel, *, young: bool = False, deploys_per_day: float | None = None
) -> History:
    start_s = MONDAY_S + 30 * DAY_S + rng.randrange(7 * 24) * HOUR_S
    end_s = start_s + DAYS * DAY_S
    history = History(model.name, "", model, start_s, end_s, is_young=young, rng=rng)
    per_day = rng.choice(DEPLOYS_PER_DAY) if deploys_per_day is None else deploys_per_day
    at_s = start_s - DAY_S if not young else start_s
    version = 40
    while (at_s := at_s + int(rng.expovariate(per_day / DAY_S)) + 200) < end_s - HOUR_S:
        version += 1
        routine.deploy(model, at_s, rng, version)
        history.deploys += at_s >= start_s
    dynos = [f"web.{number}" for number in range(1, model.web + 1)]
    dynos += [f"worker.{number}" for number in range(1, model.workers + 1)]
    for dyno in dynos:
        for day in range(DAYS):
            at_s = start_s + int((day + rng.random()) * DAY_S) // MINUTE_S * MINUTE_S + 20
            routine.cycle(model, dyno, at_s, rng)
    return history
