"""Built-in rules of earlier versions, which compared metrics with limits.

None of them applies by itself: today's built-in rules of these names fire from findings
(app.alerting.default_rules). A command that sets a limit for such a name, as older scripts do, gets
the rule that has one.
"""

from __future__ import annotations

from app.alerting.rule import Rule

_BROKEN = ("H10", "H12", "H13", "H14", "H99")

_RULES = (
    Rule(
        name="app-broken",
        title="Heroku error pages",
        metric="heroku_errors",
        stat="sum",
        filters={"code": _BROKEN},
        told_by="code",
        severity="page",
        means="Requests got an error page from Heroku instead of the app's answer.",
        look="The changes just before, and the app's log at that time.",
    ),
    Rule(
        name="requests-fail",
        title="failed requests",
        metric="requests",
        stat="share",
        filters={"outcome": ("failed",)},
        limit=0.02,
        resolve=0.015,
        count_min=50,  # so that a single failure never fires it
        severity="page",
        explained_by=("app-broken",),
        means="More than 2 % of the requests ended with a status of 500 or above, or without one. "
        "Requests during maintenance (H80) do not count as failed.",
        look="The statuses and error codes on the app's page, and the app's log.",
    ),
    Rule(
        name="slow",
        title="p95 response time",
        metric="service_time_ms",
        stat="p95",
        by="process_type",
        compare="week",
        limit=2,
        resolve=1.6,
        floor=500,
        count_min=20,
        explained_by=("app-broken",),
        means="One request in twenty takes longer than this: over twice as long as in the same "
        "hour of last week, and over half a second.",
        look="The last release, memory and load of the dynos, then databases and other backends.",
    ),
    Rule(
        name="memory-exceeded",
        title="memory quota exceeded (R14)",
        metric="heroku_errors",
        stat="sum",
        filters={"code": ("R14",)},
        by="process_type",
        for_minutes=5,
        means="For 5 minutes, a dyno has used more memory than its quota. It swaps, which makes it "
        "slow.",
        look="Memory since the last restart; a steady rise is a leak. A restart helps for a while. "
        "Fewer processes per dyno or a larger dyno help longer.",
    ),
    Rule(
        name="memory-killed",
        title="killed for using too much memory (R15)",
        metric="heroku_errors",
        stat="sum",
        filters={"code": ("R15",)},
        by="process_type",
        severity="page",
        means="A dyno used far more than its memory quota, and Heroku killed it.",
        look="The requests and jobs at that time. One was huge, or memory leaked (R14 before).",
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
        means="The fullest dyno is close to its memory quota. Above the quota it swaps (R14).",
        look="Whether memory rises steadily, and since which release.",
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
        means="More tasks need a CPU than there are CPU threads. Standard dynos share 8.",
        look="Response times, request rate and queued jobs. More or larger dynos help. To set the "
        "limit for your dynos: dynometer alerts add load-high --limit-of web=32",
    ),
    Rule(
        name="no-data",
        title="no data",
        kind="no_data",
        limit=5,
        quiet_minutes=1,
        severity="page",
        means="No log line for 5 minutes from an app that logged nearly every minute. The app is "
        "down, its drain was removed, or Heroku delivers late.",
        look="heroku ps and heroku drains for the app, and status.heroku.com.",
    ),
)
FORMER_RULES = {rule.name: rule for rule in _RULES}
# Fields that say nothing about the condition: they change a rule of either kind.
COMMON_FIELDS = frozenset(
    {
        *("title", "apps", "severity", "explained_by", "means", "look", "enabled"),
        *("quiet_minutes", "findings", "states"),
    }
)
