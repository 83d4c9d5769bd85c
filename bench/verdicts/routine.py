"""What happens to apps that are all right: deploys, cycling, cron jobs, maintenance, sleep."""

from __future__ import annotations

from random import Random

from app.rollup.events import EventKey
from bench.verdicts.app_model import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    ROUTER_SOURCE,
    AppModel,
    Conditions,
    Effect,
    event,
    overlap,
)

RESTART_CODES = ("H13", "H18", "H21", "")


def deploy(model: AppModel, at_s: int, rng: Random, version: int) -> None:
    """Release code: all dynos restart, some requests fail, and the first minute is slow."""
    up_s = {}
    for number in range(1, model.web + 1):
        up_s[f"web.{number}"] = at_s + 3 + rng.uniform(8, 45)
    for number in range(1, model.workers + 1):
        up_s[f"worker.{number}"] = at_s + 3 + rng.uniform(5, 30)
    last_up_s = max(up_s.values(), default=at_s + 5)
    end_s = min(last_up_s + rng.uniform(5, 75), at_s + 175)
    code = rng.choice(RESTART_CODES)
    failed_share = rng.choice((0.0, 0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.4)))
    factor = rng.choice((1.0, rng.uniform(1, 2), rng.uniform(1.5, 5)))
    has_build = rng.random() < 0.7

    def release(minute_s: int, conditions: Conditions, _: Random) -> None:
        events = [
            event(at_s, "deploy", "", f"{version:08x}"),
            event(at_s + 1, "release", "", f"v{version}"),
        ]
        if has_build:
            events += [
                event(at_s - 50, "build", "", "started"),
                event(at_s, "build", "", "succeeded"),
            ]
        for dyno, up_at_s in up_s.items():
            events += [
                event(at_s + 2, "restart", dyno),
                event(at_s + 3, "stop", dyno, "SIGTERM"),
                event(up_at_s, "up", dyno),
            ]
        add_events(conditions, minute_s, events)
        part = overlap(minute_s, at_s + 2, end_s)
        if part > 0:
            if failed_share:
                conditions.fail(failed_share, code, overlap(minute_s, at_s + 2, last_up_s))
            if factor > 1:
                conditions.slow_down(factor, part)

    model.add_effect(at_s - MINUTE_S, int(end_s) + MINUTE_S, release)
    model.excuse(at_s, int(end_s))


def app_event(model: AppModel, at_s: int, kind: str, detail: str) -> None:
    """An event that changes nothing: an add-on, a note, a config var with a restart elsewhere."""

    def tell(minute_s: int, conditions: Conditions, _: Random) -> None:
        add_events(conditions, minute_s, [event(at_s, kind, "", detail)])

    model.add_effect(at_s, at_s + 1, tell)


def cycle(model: AppModel, dyno: str, at_s: int, rng: Random) -> None:
    """Heroku restarts a dyno, as it does every day."""
    up_s = at_s + rng.uniform(10, 40)
    broken = rng.choice((0, 0, 1, 2)) if dyno.startswith("web.") else 0

    def restart(minute_s: int, conditions: Conditions, _: Random) -> None:
        events = [
            event(at_s, "cycle", dyno),
            event(at_s + 1, "restart", dyno),
            event(at_s + 2, "stop", dyno, "SIGTERM"),
            event(up_s, "up", dyno),
        ]
        add_events(conditions, minute_s, events)
        if broken and minute_s <= at_s < minute_s + MINUTE_S and conditions.rate > 5:
            conditions.fail(min(broken / conditions.rate, 0.2), "H13")

    model.add_effect(at_s, int(up_s) + MINUTE_S, restart)


def hourly_job(minute: int, length: int, factor: float) -> Effect:
    """A job that makes everything slower each hour, from this minute on."""

    def run(minute_s: int, conditions: Conditions, _: Random) -> None:
        position = minute_s % HOUR_S // MINUTE_S
        if minute <= position < minute + length:
            conditions.slow_down(factor)
            conditions.load_factor = 2.0

    return run


def traffic_burst(start_s: int, end_s: int, factor: float, slower: float) -> Effect:
    """More requests for some minutes, which are a little slower."""

    def burst(minute_s: int, conditions: Conditions, _: Random) -> None:
        part = overlap(minute_s, start_s, end_s)
        conditions.rate *= 1 + (factor - 1) * part
        conditions.slow_down(slower, part)

    return burst


def maintenance(model: AppModel, start_s: int, end_s: int) -> None:
    """Maintenance mode: the router answers every request with H80."""

    def close(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.is_maintenance = True
        kinds = [(start_s, "began"), (end_s, "ended")]
        events = [event(at_s, "maintenance", "", detail) for at_s, detail in kinds]
        add_events(conditions, minute_s, events)

    model.add_effect(start_s, end_s, close)


def scale(model: AppModel, at_s: int, until_s: int, web: int) -> None:
    """Another number of web dynos for some time; with 0, requests get H14."""
    before = model.web

    def formation(minute_s: int, conditions: Conditions, _: Random) -> None:
        conditions.web = web
        events = [
            event(at_s, "scale", "", f"web@{web}:Standard-1X"),
            event(until_s, "scale", "", f"web@{before}:Standard-1X"),
        ]
        changed = [f"web.{number}" for number in range(min(web, before) + 1, max(web, before) + 1)]
        for dyno in changed:
            start, stop = (at_s, until_s) if web > before else (until_s, at_s)
            events += [event(start + 12, "up", dyno), event(stop + 2, "down", dyno)]
        if not web:
            conditions.rate *= 0.3  # visitors give up
            conditions.events = [  # there is no dyno that could restart
                found for found in conditions.events if not found.source.startswith("web.")
            ]
        add_events(conditions, minute_s, events)

    def back(minute_s: int, conditions: Conditions, rng: Random) -> None:
        formation(minute_s, conditions, rng)
        conditions.web = before

    model.add_effect(at_s, until_s, formation)
    if not web:
        model.excuse(at_s, until_s + 90)
    model.add_effect(until_s, until_s + MINUTE_S, back)


def eco_sleep(model: AppModel, start_s: int, end_s: int, rng: Random) -> None:
    """An Eco app sleeps from `start_s` until a request wakes it at `end_s`."""
    webs = [f"web.{number}" for number in range(1, model.web + 1)]
    up_s = end_s + rng.uniform(6, 25)

    def sleep(minute_s: int, conditions: Conditions, _: Random) -> None:
        events = [event(start_s, "idle", dyno) for dyno in webs]
        events += [event(start_s + 3, "down", dyno) for dyno in webs]
        conditions.is_silent = not minute_s <= start_s < minute_s + MINUTE_S
        if conditions.is_silent:
            conditions.events.clear()  # a deploy does not wake it
        add_events(conditions, minute_s, events)

    def wake(minute_s: int, conditions: Conditions, _: Random) -> None:
        events = [event(end_s, "unidle", dyno) for dyno in webs]
        events += [event(up_s, "up", dyno) for dyno in webs]
        add_events(conditions, minute_s, events)
        conditions.rate = max(conditions.rate, 3.0)
        conditions.slow_down(8.0, overlap(minute_s, end_s, end_s + 60))

    model.add_effect(start_s, end_s - end_s % MINUTE_S, sleep)
    model.add_effect(end_s, end_s + 1, wake)


def client_errors(model: AppModel, start_s: int, end_s: int, code: str, share: float) -> None:
    """Clients break off: the app did nothing wrong, and the requests count as no failures."""

    def break_off(minute_s: int, conditions: Conditions, rng: Random) -> None:
        count = round(conditions.rate * share * rng.uniform(0.5, 1.5))
        source = ROUTER_SOURCE if code in ("H26", "H32") else "web.1"
        if count:
            conditions.codes[source, code] = conditions.codes.get((source, code), 0) + count

    model.add_effect(start_s, end_s, break_off)


def idle_websockets(count: float) -> Effect:
    """WebSockets that end after 55 s without data (H15): usual for such an app."""

    def end_connections(_: int, conditions: Conditions, rng: Random) -> None:
        ended = int(rng.expovariate(1 / count))
        if ended and conditions.rate:
            conditions.fail(min(ended / (conditions.rate + ended), 0.3), "H15")
            conditions.rate += ended

    return end_connections


def vanish(model: AppModel, start_s: int, end_s: int) -> None:
    """Nothing more is heard: the app has been deleted."""

    def silence(_: int, conditions: Conditions, __: Random) -> None:
        conditions.is_silent = True
        conditions.events.clear()

    model.add_effect(start_s, end_s, silence)


def lose_lines(model: AppModel, start_s: int, end_s: int, share: float) -> None:
    """Heroku drops part of the lines (L10)."""

    def drop(_: int, conditions: Conditions, __: Random) -> None:
        conditions.lost = round(conditions.rate * share)
        conditions.codes["", "L10"] = 1
        conditions.rate *= 1 - share

    model.add_effect(start_s, end_s, drop)


def chronic_memory(dynos: list[str], ratio: float) -> Effect:
    """Dynos that always use more memory than their quota."""

    def exceed(minute_s: int, conditions: Conditions, _: Random) -> None:
        for index, dyno in enumerate(dynos):
            fresh = (minute_s + index * 7 * HOUR_S) % DAY_S < 2 * HOUR_S  # since its restart
            conditions.memory[dyno] = ratio - 0.3 if fresh else ratio

    return exceed


def add_events(conditions: Conditions, minute_s: int, events: list[EventKey]) -> None:
    """Add those of the events that lie in this minute."""
    for candidate in events:
        if minute_s * 1000 <= candidate.at_ms < (minute_s + MINUTE_S) * 1000:
            conditions.events.append(candidate)
