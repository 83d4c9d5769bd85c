"""The built-in rules. They apply once there is a channel.

A stored rule of the same name replaces a built-in one. Rules about apps fire from findings: an app
is judged once, and pages, lists and alerts say the same. A finding ends only after
some quiet minutes, so the rule itself does not wait.
"""

from __future__ import annotations

from app.alerting.addon_rules import ADDON_RULES
from app.alerting.rule import Rule

# So long a warning waits for the page that explains it: the first minute of an outage is seldom
# bad as a whole, so it looks like a smaller problem.
BEFORE_WARNING_MINUTES = 2
DEFAULT_RULES = (
    Rule(
        name="app-broken",
        title="down",
        kind="finding",
        findings=("no_dyno", "failing"),
        states=("down",),
        told_by="code",
        quiet_minutes=1,
        severity="page",
        means="More than half of the requests fail, or no dyno can answer.",
        look="The changes just before, and the app's log at that time.",
    ),
    Rule(
        name="requests-fail",
        title="failed requests",
        kind="finding",
        findings=("failing",),
        states=("degraded",),
        told_by="code",
        for_minutes=BEFORE_WARNING_MINUTES,
        quiet_minutes=1,
        explained_by=("app-broken",),
        means="More requests than usual ended with a status of 500 or above, or without one: over "
        "2 %, and more than chance explains. Requests during maintenance (H80) do not count.",
        look="The statuses and error codes on the app's page, and the app's log.",
    ),
    Rule(
        name="slow",
        title="slow responses",
        kind="finding",
        findings=("slow",),
        states=("degraded",),
        by="process_type",
        quiet_minutes=1,
        explained_by=("app-broken",),
        means="One request in twenty takes longer than this: much longer than at the same time of "
        "yesterday and last week.",
        look="The last release, memory and load of the dynos, then databases and other backends.",
    ),
    Rule(
        name="crash-loop",
        title="crash loop",
        kind="finding",
        findings=("crash_loop",),
        states=("down", "degraded"),
        by="process_type",
        for_minutes=BEFORE_WARNING_MINUTES,
        quiet_minutes=1,
        explained_by=("app-broken",),
        means="Dynos of this process type crash again and again, or stay crashed.",
        look="The app's log before the crash, and the last release or config change.",
    ),
    Rule(
        name="memory-exceeded",
        title="memory quota exceeded (R14)",
        kind="finding",
        findings=("memory_exceeded",),
        states=("degraded",),
        by="process_type",
        quiet_minutes=1,
        means="A dyno uses more memory than its quota. It swaps, which makes it slow.",
        look="Memory since the last restart; a steady rise is a leak. A restart helps for a while. "
        "Fewer processes per dyno or a larger dyno help longer.",
    ),
    Rule(
        name="memory-killed",
        title="killed for using too much memory (R15)",
        kind="finding",
        findings=("memory_killed",),
        by="process_type",
        quiet_minutes=1,
        means="A dyno used far more than its memory quota, and Heroku killed it.",
        look="The requests and jobs at that time. One was huge, or memory leaked (R14 before).",
    ),
    Rule(
        name="memory-high",
        title="memory",
        kind="finding",
        findings=("memory_high",),
        by="process_type",
        quiet_minutes=1,
        explained_by=("memory-exceeded", "memory-killed"),
        means="The fullest dyno is close to its memory quota, or will be if memory goes on rising. "
        "Above the quota it swaps (R14).",
        look="Whether memory rises steadily, and since which release.",
    ),
    Rule(
        name="no-data",
        title="no data",
        kind="finding",
        findings=("silent",),
        states=("silent",),
        quiet_minutes=1,
        severity="page",
        means="No log line for longer than this app is ever silent at this time. The app is down, "
        "its drain was removed, or Heroku delivers late.",
        look="heroku ps and heroku drains for the app, and status.heroku.com.",
    ),
    Rule(
        name="unreadable",
        title="unreadable lines",
        kind="finding",
        findings=("unreadable",),
        states=("unreadable",),
        quiet_minutes=1,
        means="Lines arrive from this app, but none can be read, so nothing is known about it.",
        look="The reasons in the log-line accounting on the app's page, and what changes the lines "
        "on their way.",
    ),
    Rule(
        name="fleet",
        title="many apps at the same time",
        kind="fleet",
        limit=3,
        quiet_minutes=1,
        severity="page",
        means="Many apps fell silent or got H99 within two minutes. The cause is one that they "
        "share: Heroku, the delivery of logs, or Dynometer.",
        look="status.heroku.com, then /readyz and dynometer doctor.",
    ),
    *ADDON_RULES,
    Rule(
        name="lines-lost",
        title="lines lost (L10, L12, L13)",
        kind="lost",
        quiet_minutes=15,
        means="Heroku dropped lines before they reached Dynometer. The counts of these minutes are "
        "too low.",
        look="Whether the app logs far more than usual, and whether Dynometer was down or slow.",
    ),
    Rule(
        name="folding-stalled",
        title="folding stalled",
        kind="folding",
        limit=5,
        quiet_minutes=1,
        means="Dynometer has not folded for more than 5 minutes. Nothing is lost, but queries "
        "become slow.",
        look="/readyz and dynometer doctor. Both show the cause.",
    ),
    Rule(
        name="buffering",
        title="Redis unavailable: lines wait on disk",
        kind="buffering",
        limit=2,
        quiet_minutes=1,
        severity="page",
        means="Redis is unavailable or rejects commands. Lines wait on disk, and no other alerts "
        "can be sent until they are counted.",
        look="Redis itself, and dynometer doctor. When the disk space for waiting lines is full, "
        "lines are rejected and Heroku drops them.",
    ),
    Rule(
        name="channel-fails",
        title="channel failing",
        kind="channel",
        limit=10,
        quiet_minutes=1,
        means="Messages to this channel could not be delivered for more than 10 minutes. They are "
        "retried for a day.",
        look="dynometer alerts channel list shows the error. dynometer alerts test tries again.",
    ),
)
