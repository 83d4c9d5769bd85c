"""The built-in rules about databases and caches, from the samples that they log.

They compare with limits, because an add-on's plan is a limit. An app without add-ons has no values,
so they are silent. Each covers 5 minutes, as some plans do not log every minute. Limits of
connections and size: Heroku Dev Center, "Monitoring Heroku Postgres" (its critical level).
"""

from __future__ import annotations

from app.alerting.rule import Rule

_NEARLY_FULL = 0.9
_OVER_MINUTES = 5
_QUIET_MINUTES = 15
_WAITING_MAX = 5
_CACHE_MISSES_MINUTES = 60

ADDON_RULES = (
    Rule(
        name="postgres-connections",
        title="Postgres connections",
        metric="postgres_connections_used_ratio",
        stat="max",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        limit=_NEARLY_FULL,
        quiet_minutes=_QUIET_MINUTES,
        means="The database has nearly as many connections as its plan allows. Beyond that, it "
        "rejects new ones.",
        look="heroku pg:ps, pool sizes times dynos, and connection pooling.",
    ),
    Rule(
        name="postgres-storage",
        title="Postgres storage",
        metric="postgres_db_size_used_ratio",
        stat="max",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        limit=_NEARLY_FULL,
        resolve=0.88,
        quiet_minutes=_QUIET_MINUTES,
        means="The database is nearly as large as its plan allows. Beyond that, Heroku withdraws "
        "the right to write.",
        look="heroku pg:info, the largest tables and their bloat, or a larger plan.",
    ),
    Rule(
        name="postgres-iops",
        title="Postgres IOPS",
        metric="postgres_iops_used_ratio",
        stat="min",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        limit=_NEARLY_FULL,
        quiet_minutes=_QUIET_MINUTES,
        means="The database has used the disk operations of its plan for minutes, so queries wait "
        "for the disk.",
        look="heroku pg:outliers, the cache hit rate, and jobs that began at this time.",
    ),
    Rule(
        name="postgres-waiting",
        title="Postgres connections waiting for a lock",
        metric="postgres_waiting_connections",
        stat="min",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        limit=_WAITING_MAX,
        quiet_minutes=_QUIET_MINUTES,
        means="Connections have waited for locks for minutes. Their requests hang.",
        look="heroku pg:locks and pg:blocking. Often a migration or a long transaction holds them.",
    ),
    Rule(
        name="postgres-cache",
        title="Postgres cache hit rate",
        metric="postgres_table_cache_hit_ratio",
        stat="avg",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        below=True,
        limit=_NEARLY_FULL,
        resolve=0.95,
        for_minutes=_CACHE_MISSES_MINUTES,
        quiet_minutes=_QUIET_MINUTES,
        means="For an hour, more than one table block in ten came from disk. Heroku recommends a "
        "rate of 99 %.",
        look="heroku pg:outliers and missing indexes. Otherwise a plan with more memory.",
    ),
    Rule(
        name="redis-connections",
        title="Redis connections",
        metric="redis_connections_used_ratio",
        stat="max",
        by="attachment",
        over_minutes=_OVER_MINUTES,
        limit=_NEARLY_FULL,
        quiet_minutes=_QUIET_MINUTES,
        means="The cache has nearly as many connections as its plan allows. Beyond that, it "
        "rejects new ones.",
        look="Pool sizes times dynos and processes, and the timeout of idle connections.",
    ),
)
