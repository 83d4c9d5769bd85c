"""Ten incidents and eleven apps that need nobody: the full summary of each, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from app.judgement.facts import AppProfile, DynoFacts, Interval, PastP95, TypeFacts, Usual
from app.judgement.judge import Judge
from app.judgement.verdict import State, Verdict
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from app.rollup.sketch import bin_of
from tests.app.judgement.scenes import NEW, PROFILE, USUAL, at, event, minute, until


class Scene(NamedTuple):
    """An app from 21:00 to `end`: its minutes, events and what is usual."""

    state: State
    summary: str
    minutes: Callable[[int], Interval]
    events: tuple[EventKey, ...] = ()
    end: str = "23:27"
    usual: Usual = USUAL
    profile: AppProfile = PROFILE


def judge(scene: Scene) -> Verdict:
    judge = Judge(scene.profile)
    for start_s in range(at("21:00"), at(scene.end), MINUTE_S):
        own = tuple(e for e in scene.events if start_s <= e.at_ms // 1000 < start_s + MINUTE_S)
        interval = scene.minutes(start_s)
        interval = interval._replace(events=tuple(sorted((*interval.events, *own))))
        verdict = judge.advance(interval, scene.usual)
    return verdict


def silence(start_s: int) -> Interval:
    return Interval(start_s)


def failing(
    failed: int, code: str, requests: int = 60, source: str = "web.", status: int = 503
) -> Callable[[int], Interval]:
    """Minutes in which requests fail with a code, or with a status, on one source."""

    def build(start_s: int) -> Interval:
        interval = minute(start_s, requests, failed)
        facts = interval.types["web"]._replace(statuses={status: failed})
        codes = {(source, code): failed} if code else {}
        return interval._replace(types={"web": facts}, codes=codes)

    return build


def no_dyno(code: str, requests: int) -> Callable[[int], Interval]:
    def build(start_s: int) -> Interval:
        types = {"web": TypeFacts(requests, requests, {}, 0, {503: requests})}
        codes = {("web.", code): requests}
        return Interval(start_s, messages=requests, counted=requests, types=types, codes=codes)

    return build


def six_dynos(bad: str, failed: int = 0, bad_ms: int = 200) -> Callable[[int], Interval]:
    """Minutes of 600 requests to six dynos, of which one fails or is slow."""

    def build(start_s: int) -> Interval:
        dynos = {
            name: DynoFacts(
                100, failed if name == bad else 0, bad_ms if name == bad else 200.0, 900, 0.5, 0.3
            )
            for name in (f"web.{number}" for number in range(1, 7))
        }
        times = {bin_of(200): 500, bin_of(bad_ms): 100 - failed}
        types = {"web": TypeFacts(600, failed, times, 0, {503: failed} if failed else {})}
        codes = {(bad, "H12"): failed} if failed else {}
        return Interval(start_s, messages=600, counted=600, types=types, dynos=dynos, codes=codes)

    return build


def memory_of(ratio: Callable[[int], float], codes: dict[tuple[str, str], int] | None = None):  # type: ignore[no-untyped-def]
    def build(start_s: int) -> Interval:
        interval = minute(start_s)
        full = interval.dynos["web.2"]._replace(memory_ratio=ratio(start_s))
        dynos = {"web.1": interval.dynos["web.1"], "web.2": full}
        return interval._replace(dynos=dynos, codes=codes or {})

    return build


def slow(time_ms: int) -> Callable[[int], Interval]:
    def build(start_s: int) -> Interval:
        return minute(start_s, time_ms=time_ms)

    return build


def worker(start_s: int) -> Interval:
    dynos = {"worker.1": DynoFacts(memory_ratio=0.4, load=0.2)}
    return Interval(start_s, messages=5, counted=5, dynos=dynos)


def crashing(start_s: int) -> Interval:
    return Interval(start_s, messages=1, counted=1, exits={("worker.1", 1): 1})


def known_p95(time_ms: float) -> Usual:
    return USUAL._replace(p95={"web": PastP95(time_ms, time_ms)}, failed_share={"web": 0.0004})


def crashes(source: str, *clocks: str) -> tuple[EventKey, ...]:
    return tuple(event(clock, "crash", source) for clock in clocks)


RELEASE = (
    event("23:11:20", "config", "", "set STRIPE_KEY"),
    event("23:11:21", "release", "", "v57"),
)
BILLING = (
    *RELEASE,
    *crashes("web.1", "23:11:50", "23:12:02", "23:12:20"),
    *crashes("web.2", "23:11:51", "23:12:03", "23:12:21"),
)

INCIDENTS = {
    "every request fails after a config change": Scene(
        "down",
        "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed); web.1 and "
        "web.2 have crashed at start 6 times. One minute after release v57 and a config "
        "change (STRIPE_KEY).",
        until("23:12", no_dyno("H10", 45)),
        BILLING,
    ),
    "one dyno answers too late": Scene(
        "degraded",
        "Failing since 23:06 UTC (21 min): 8.3 % of requests (last 5 min) end with "
        "H12 (request timeout), 1,050 so far, mostly on web.3. Memory and load unchanged.",
        until("23:06", six_dynos("web.3", 50), six_dynos("web.3")),
    ),
    "responses take longer since a release": Scene(
        "degraded",
        "Slow since 22:50 UTC (37 min): p95 of answered requests (last 5 min) is 560 ms, "
        "2.3 × the usual 248 ms. One minute after release v212. Memory and load unchanged.",
        until("22:50", slow(560), slow(246)),
        (event("22:49:29", "release", "", "v212"), event("22:49:50", "up", "web.1")),
        usual=known_p95(246),
    ),
    "no lines any more": Scene(
        "silent",
        "Silent since 22:57 UTC (30 min): no log lines arrive; more than 5 min without any is"
        " unusual.",
        until("22:57", silence),
    ),
    "a leak": Scene(
        "ok",
        "Fine, but memory of web.2 has been rising since 21:00 UTC (2 h 27 min): now at 86 % "
        "of the quota, full at about 00:21 UTC. 100 requests a minute, p95 200 ms, none "
        "failed.",
        memory_of(lambda start_s: 0.5 + (start_s - at("21:00")) / 60 * 0.0025),
    ),
    "over the memory quota": Scene(
        "degraded",
        "Over the memory quota since 23:00 UTC (27 min): web.2 swaps (R14), at 112 % of the quota.",
        until("23:00", memory_of(lambda _: 1.12, {("web.2", "R14"): 3})),
    ),
    "slow, but over": Scene(
        "ok",
        "All normal: 100 requests a minute, p95 248 ms, none failed.",
        until("22:14", until("22:35", slow(250), slow(900)), slow(250)),
        usual=known_p95(250),
    ),
    "a worker crashes": Scene(
        "degraded",
        "In a crash loop since 23:02 UTC (25 min): worker.1 has crashed at start 3 "
        "times (exit status 1).",
        until("23:02", crashing, worker),
        crashes("worker.1", "23:02", "23:02:20", "23:22:40"),
    ),
    "few requests, and every one fails": Scene(
        "down",
        "Down since 23:20 UTC (7 min): every request is answered with 500. Memory and load "
        "unchanged.",
        until("23:20", failing(18, "", 18, status=500), slow(80)),
    ),
    "hardly any requests, and no dyno": Scene(
        "down",
        "Down since some time between 23:00 and 23:11 UTC (about 17 min): every request ends with "
        "H10 (app crashed); web.1 has crashed at start twice.",
        until(
            "23:10",
            lambda start_s: no_dyno("H10", 1)(start_s) if start_s % 300 == 0 else silence(start_s),
            lambda start_s: minute(start_s, int(start_s % 600 == 0)),
        ),
        crashes("web.1", "23:10:30", "23:10:40"),
        usual=USUAL._replace(heard_share=0.05),
    ),
}

FINE = {
    "nothing": Scene("ok", "All normal: 100 requests a minute, p95 200 ms, none failed.", minute),
    "thin traffic": Scene(
        "ok",
        "All normal: no log lines for 11 min, which is not unusual.",
        lambda start_s: minute(start_s, int(start_s % 1500 == 0)),
        usual=USUAL._replace(heard_share=0.03),
    ),
    "one H12 among 86 requests": Scene(
        "ok",
        "All normal: 97 requests a minute, p95 200 ms, 0.2 % failed.",
        lambda start_s: (failing(1, "H12", 86, "web.1") if start_s == at("23:25") else slow(200))(
            start_s
        ),
    ),
    "an Eco dyno sleeps": Scene(
        "idle",
        "Asleep since 22:30 UTC (57 min): Eco dynos sleep when no requests come.",
        until("22:31", silence),
        (event("22:30:10", "idle", "web.1"), event("22:30:20", "down", "web.1")),
    ),
    "scaled to zero": Scene(
        "idle",
        "Scaled to zero since 22:30 UTC (57 min): 171 requests ended with H14 (no web dynos "
        "running).",
        until("22:30", no_dyno("H14", 3)),
        (event("22:30:00", "scale", "", "web@0:Basic"),),
    ),
    "nothing is expected": Scene(
        "idle",
        "Idle since 22:20 UTC (1 h 07 min): no log lines, as is usual at this time.",
        until("22:20", silence),
        usual=USUAL._replace(heard_share=0.02),
    ),
    "too new": Scene(
        "idle",
        "Idle since 23:10 UTC (17 min): no log lines, and the app is too new to say whether "
        "that is usual.",
        until("23:10", silence),
        usual=NEW,
    ),
    "maintenance": Scene(
        "maintenance",
        "In maintenance since 23:00 UTC (27 min): requests are answered with 503 (H80).",
        until("23:00", lambda start_s: Interval(start_s, messages=50, counted=50, maintenance=50)),
    ),
    "unreadable": Scene(
        "unreadable",
        "Unreadable since 23:10 UTC (17 min): 680 log lines arrived, and none could be read.",
        until("23:10", lambda start_s: Interval(start_s, unparsed=40, messages=40)),
    ),
    "lost lines": Scene(
        "unknown",
        "Unknown since 23:24 UTC (3 min): 1,200 log lines were lost on the way (L10).",
        until("23:24", lambda start_s: minute(start_s, 4, lost=400, codes={("", "L10"): 1})),
    ),
    "a deploy": Scene(
        "ok",
        "Fine, but restarting since 23:25 UTC (2 min): 6 requests failed meanwhile (H13). "
        "Right after release v58. 100 requests a minute, p95 200 ms, 1.2 % failed.",
        until("23:25", until("23:26", minute, failing(6, "H13", 100, "web.1"))),
        (event("23:25:02", "release", "", "v58"), event("23:25:30", "up", "web.1")),
    ),
}


@pytest.mark.parametrize("name", [*INCIDENTS, *FINE])
def test_the_summary_says_what_is_the_matter(name: str) -> None:
    scene = (INCIDENTS | FINE)[name]
    verdict = judge(scene)
    assert (verdict.state, verdict.summary) == (scene.state, scene.summary)
