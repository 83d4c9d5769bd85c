"""The samples of Heroku's add-ons that are metrics of the catalogue: name, unit, meaning.

Other samples of these add-ons are kept by name, and are queried as `addon.SERVICE.NAME`
(app.rollup.open_metrics). A row that is added here also holds for older data.

Sources: Heroku Dev Center, "Heroku Postgres Metrics Logs" and "Heroku Key-Value Store Metrics
Logs"; PgBouncer's manual, SHOW STATS; public logs of 2015 to 2026.
"""

from __future__ import annotations

from typing import NamedTuple

POSTGRES, REDIS, PGBOUNCER = "postgres", "redis", "pgbouncer"


class AddonMetric(NamedTuple):
    """A sample of an add-on.

    Attributes:
        sample: its name in the log.
        metric: its name in the catalogue, after the service.
        unit: `bytes` if the sample is stored in bytes.
        help: its meaning.
    """

    sample: str
    metric: str
    unit: str
    help: str


def _server_metrics(memory: str, load: str) -> tuple[AddonMetric, ...]:
    """The samples that databases and caches have in common."""
    return (
        AddonMetric("active-connections", "active_connections", "connections", "Open connections"),
        AddonMetric(
            "max-connections", "max_connections", "connections", "Connections that the plan allows"
        ),
        *(
            AddonMetric(
                f"load-avg-{minutes}m",
                f"load_avg_{minutes}m",
                "tasks",
                f"{load}, averaged over the last {minutes} min",
            )
            for minutes in (1, 5, 15)
        ),
        AddonMetric("read-iops", "read_iops", "operations/s", "Reads from disk, in 16 kB blocks"),
        AddonMetric("write-iops", "write_iops", "operations/s", "Writes to disk, in 16 kB blocks"),
        AddonMetric("max-iops", "max_iops", "operations/s", "Disk operations that the plan allows"),
        AddonMetric(
            "iops-percentage-used", "iops_used_ratio", "ratio", "Disk operations / those allowed"
        ),
        AddonMetric("memory-total", "memory_total_bytes", "bytes", f"Memory of {memory}"),
        AddonMetric("memory-free", "memory_free_bytes", "bytes", f"Unused memory of {memory}"),
        AddonMetric(
            "memory-cached", "memory_cached_bytes", "bytes", f"Memory of {memory} that caches disk"
        ),
        AddonMetric(
            "memory-percentage-used",
            "memory_used_ratio",
            "ratio",
            f"Used share of {memory}'s memory",
        ),
    )


ADDON_METRICS: dict[str, tuple[AddonMetric, ...]] = {
    POSTGRES: (
        AddonMetric(
            "connections-percentage-used",
            "connections_used_ratio",
            "ratio",
            "Open connections / those allowed",
        ),
        AddonMetric(
            "waiting-connections",
            "waiting_connections",
            "connections",
            "Connections that wait for a lock",
        ),
        AddonMetric("db_size", "db_size_bytes", "bytes", "Size of the database, with indexes"),
        AddonMetric(
            "db-size-percentage-used", "db_size_used_ratio", "ratio", "Size / the plan's storage"
        ),
        AddonMetric("tables", "tables", "tables", "Tables"),
        AddonMetric(
            "current_transaction",
            "current_transaction",
            "transactions",
            "Number of the latest transaction; it only grows",
        ),
        AddonMetric(
            "index-cache-hit-rate",
            "index_cache_hit_ratio",
            "ratio",
            "Index blocks read from memory / index blocks read",
        ),
        AddonMetric(
            "table-cache-hit-rate",
            "table_cache_hit_ratio",
            "ratio",
            "Table blocks read from memory / table blocks read",
        ),
        *_server_metrics("the database's server", "Load of the database's server per processor"),
        AddonMetric(
            "memory-postgres", "memory_postgres_bytes", "bytes", "Memory of Postgres' processes"
        ),
        AddonMetric("tmp-disk-used", "tmp_disk_used_bytes", "bytes", "Temporary files on disk"),
        AddonMetric(
            "tmp-disk-available", "tmp_disk_available_bytes", "bytes", "Space for temporary files"
        ),
        AddonMetric(
            "wal-percentage-used", "wal_used_ratio", "ratio", "Write-ahead log / space for it"
        ),
        AddonMetric(
            "follower-lag-commits",
            "follower_lag_commits",
            "commits",
            "Commits that a follower is behind",
        ),
    ),
    REDIS: (
        AddonMetric(
            "connection-percentage-used",
            "connections_used_ratio",
            "ratio",
            "Open connections / those allowed",
        ),
        *_server_metrics("the cache's server", "Load of the cache's server"),
        AddonMetric(
            "memory-redis", "memory_redis_bytes", "bytes", "Memory that the cache's data uses"
        ),
        AddonMetric("hit-rate", "hit_ratio", "ratio", "Keys found / keys looked up"),
        AddonMetric(
            "evicted-keys", "evicted_keys", "keys", "Keys removed because the memory was full"
        ),
    ),
    PGBOUNCER: (
        AddonMetric(
            "client_active", "client_active", "connections", "Clients with a server connection"
        ),
        AddonMetric("client_waiting", "client_waiting", "connections", "Clients that wait for one"),
        AddonMetric("server_active", "server_active", "connections", "Server connections in use"),
        AddonMetric("server_idle", "server_idle", "connections", "Server connections not in use"),
        AddonMetric("max_wait", "max_wait_s", "s", "Longest wait of a client that waits now"),
        AddonMetric("avg_query", "avg_query_us", "us", "Average time of a query, in microseconds"),
        AddonMetric("avg_recv", "avg_recv_bytes", "bytes", "Bytes a second from clients"),
        AddonMetric("avg_sent", "avg_sent_bytes", "bytes", "Bytes a second to clients"),
    ),
}
