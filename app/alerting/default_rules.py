"""The rules that hold once there is somebody to be told: what it means, and what to look at.

A rule of the same name in the store replaces one of these. One slow minute is no news, so what
varies by itself waits for a second one; what never should happen does not.
"""

from __future__ import annotations

from app.alerting.rule import Rule

_BROKEN = ("H10", "H12", "H13", "H14", "H99")

DEFAULT_RULES = (
    Rule(
        name="app-broken",
        title="Heroku answers for the app",
        metric="heroku_errors",
        stat="sum",
        filters={"code": _BROKEN},
        told_by="code",
        severity="page",
        means="Requests got an error page of Heroku's instead of an answer.",
        look="What changed just before, and the app's own log at that time.",
    ),
    Rule(
        name="requests-fail",
        title="requests fail",
        metric="requests",
        stat="share",
        filters={"outcome": ("failed",)},
        limit=0.02,
        resolve=0.015,
        count_min=50,  # so that it takes two
        severity="page",
        explained_by=("app-broken",),
        means="More than 2 % of the requests ended with a status of 500 and above, or with none.",
        look="Which statuses and codes they are, on the app's page, and the app's own log.",
    ),
    Rule(
        name="slow",
        title="p95 of the response time",
        metric="service_time_ms",
        stat="p95",
        by="process_type",
        compare="week",
        limit=2,
        resolve=1.6,
        floor=500,
        count_min=20,
        explained_by=("app-broken",),
        means="One request of twenty takes longer than this: over twice as long as in the same "
        "hour of last week, and over half a second.",
        look="The last release, memory and load of the dynos, then database and backends.",
    ),
    Rule(
        name="memory-exceeded",
        title="over the memory quota (R14)",
        metric="heroku_errors",
        stat="sum",
        filters={"code": ("R14",)},
        by="process_type",
        for_minutes=5,
        means="For 5 minutes a dyno has used more memory than it has: it swaps, and is slow.",
        look="Memory since the last restart: a leak rises steadily. Restarting helps for a while; "
        "fewer processes per dyno or a larger dyno help longer.",
    ),
    Rule(
        name="memory-killed",
        title="killed for its memory (R15)",
        metric="heroku_errors",
        stat="sum",
        filters={"code": ("R15",)},
        by="process_type",
        severity="page",
        means="A dyno used more than twice its memory, and Heroku killed it.",
        look="What ran at that time: one huge request or job, or a leak that R14 told of before.",
    ),
    Rule(
        name="memory-high",
        title="memory",
        metric="memory_quota_used_ratio",
        stat="max",
        by="process_type",
        limit=0.95,
        resolve=0.9,
        for_minutes=2,
        explained_by=("memory-exceeded", "memory-killed"),
        means="The fullest dyno is close to its quota; beyond it, it swaps (R14).",
        look="Whether it rises steadily, and since which release.",
    ),
    Rule(
        name="load-high",
        title="load",
        metric="load_avg_1m",
        stat="max",
        by="process_type",
        limit=16,
        limits={"web": 8},
        for_minutes=5,
        means="More tasks want the processor than there are threads for: a standard dyno shares 8.",
        look="Response times, requests and jobs that pile up: more dynos, or larger ones. What is "
        "high depends on yours: dynometer alerts add load-high --limit-of web=32",
    ),
    Rule(
        name="no-data",
        title="no data",
        kind="no_data",
        limit=5,
        quiet_minutes=1,
        severity="page",
        means="Not one log line for 5 minutes, from an app that had some nearly every minute: it "
        "is down, its drain was removed, or Heroku delivers late.",
        look="heroku ps and heroku drains of the app; status.heroku.com.",
    ),
    Rule(
        name="lines-lost",
        title="lines lost (L10)",
        kind="lost",
        quiet_minutes=15,
        means="Heroku dropped lines before they came: counts of these minutes are too low.",
        look="Whether the app logs far more than usual, or this service was away or slow.",
    ),
    Rule(
        name="folding-stalled",
        title="folding stalled",
        kind="folding",
        limit=5,
        quiet_minutes=1,
        means="Dynometer has not folded for more than 5 minutes. Nothing is lost, but answers "
        "become slow.",
        look="/readyz, and dynometer doctor: both say why.",
    ),
    Rule(
        name="buffering",
        title="Redis is away: lines wait on disk",
        kind="buffering",
        limit=2,
        quiet_minutes=1,
        severity="page",
        means="Dynometer's Redis is away or refuses: lines wait on disk, and until they are "
        "counted nothing else can be told.",
        look="The Redis itself, and dynometer doctor. When the disk's share is full, lines are "
        "refused and Heroku drops them.",
    ),
    Rule(
        name="channel-fails",
        title="a channel fails",
        kind="channel",
        limit=10,
        quiet_minutes=1,
        means="Messages could not be delivered there for more than 10 minutes; they wait, for a "
        "day at most.",
        look="dynometer alerts channel list says why; dynometer alerts test tries it again.",
    ),
)
