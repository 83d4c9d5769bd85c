"""Simulates what databases and caches of an app log, and the marks of metrics in its own output.

Pure, as app.traffic.simulated_lines: numbers in, texts out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from app.traffic.simulated_lines import PRI_API, SimulatedLine, frame

ADDON_INTERVAL_S = 60
MAX_CONNECTIONS = 120
MAX_IOPS = 3_000


class SimulatedAddons:
    """A database with a follower and a connection pool, and a cache."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._db_bytes = 147_391_814_791
        self._transactions = 11_618_849_366
        self._evicted_keys = 0

    def lines(self, at_s: float, activity: float) -> Iterator[SimulatedLine]:
        """The lines of one interval. `activity`: of the app's users, 1 on average."""
        self._db_bytes += self._rng.randrange(400_000)
        self._transactions += int(900 * activity)
        pool = "source=pgbouncer addon=postgresql-round-1"
        for procid, text in (
            ("heroku-postgres", self._database("DATABASE", "postgresql-round-1", activity)),
            ("heroku-postgres", self._follower(activity)),
            ("heroku-pgbouncer", _join(pool, self._pool(activity))),
            ("heroku-redis", self._cache(activity)),
        ):
            yield SimulatedLine(at_s, frame(PRI_API, at_s, "app", procid, text))

    def _database(self, attachment: str, addon: str, activity: float, **more: object) -> str:
        rng = self._rng
        connections = int(min(MAX_CONNECTIONS, 24 * activity + rng.randint(3, 9)))
        read_iops, write_iops = round(160 * activity * rng.random(), 3), round(90 * activity, 3)
        samples = {
            "current_transaction": self._transactions,
            "db_size": f"{self._db_bytes}bytes",
            "db-size-percentage-used": _share(self._db_bytes, 256 * 2**30),
            "tables": 67,
            "active-connections": connections,
            "waiting-connections": rng.choice((0, 0, 0, 0, 1)),
            "max-connections": MAX_CONNECTIONS,
            "connections-percentage-used": _share(connections, MAX_CONNECTIONS),
            "index-cache-hit-rate": round(0.99 + 0.009 * rng.random(), 5),
            "table-cache-hit-rate": round(0.98 + 0.015 * rng.random(), 5),
            **self._server(activity, 31_328_356, read_iops, write_iops),
            "memory-postgres": "367856kB",
            "tmp-disk-used": 542_765_056,
            "tmp-disk-available": 72_436_027_392,
            "wal-percentage-used": 0.0776711216367,
        }
        return _join(f"source={attachment} addon={addon}", samples | more)

    def _follower(self, activity: float) -> str:
        lag = {"follower-lag-commits": self._rng.randrange(int(20 * activity) + 1)}
        return self._database("HEROKU_POSTGRESQL_GREEN", "postgresql-opaque-2", activity / 4, **lag)

    def _pool(self, activity: float) -> dict[str, object]:
        return {
            "client_active": int(30 * activity),
            "client_waiting": self._rng.choice((0, 0, 0, 2)),
            "server_active": self._rng.randint(0, 9),
            "server_idle": 16,
            "max_wait": 0,
            "avg_query": int(8_000 * self._rng.lognormvariate(0, 0.3)),
            "avg_recv": int(37_568 * activity),
            "avg_sent": int(1_339_005 * activity),
        }

    def _cache(self, activity: float) -> str:
        self._evicted_keys += self._rng.choice((0, 0, 0, 3))
        connections = int(min(40, 8 * activity + 2))
        samples = {
            "active-connections": connections,
            "max-connections": 40,
            "connection-percentage-used": _share(connections, 40),
            **self._server(activity, 16_167_800, 0, round(32 * activity, 3)),
            "memory-redis": f"{int(4e7 * (1 + 0.1 * activity))}bytes",
            "hit-rate": round(0.9 + 0.05 * self._rng.random(), 5),
            "evicted-keys": self._evicted_keys,
        }
        return _join("source=REDIS addon=redis-flat-3", samples)

    def _server(
        self, activity: float, memory_kb: int, read_iops: float, write_iops: float
    ) -> dict[str, object]:
        load = 0.3 * activity * self._rng.lognormvariate(0, 0.2)
        free_kb = int(memory_kb * self._rng.uniform(0.02, 0.05))
        return {
            "load-avg-1m": round(load, 3),
            "load-avg-5m": round(load * 0.95, 3),
            "load-avg-15m": round(load * 0.9, 3),
            "read-iops": read_iops,
            "write-iops": write_iops,
            "max-iops": MAX_IOPS,
            "iops-percentage-used": _share(read_iops + write_iops, MAX_IOPS),
            "memory-total": f"{memory_kb}kB",
            "memory-free": f"{free_kb}kB",
            "memory-percentage-used": _share(memory_kb - free_kb, memory_kb),
            "memory-cached": f"{memory_kb * 7 // 10}kB",
        }


def format_marks(rng: random.Random, service_ms: int) -> str:
    """A line of an app that logs its own metrics, and what its request waited for."""
    wait_ms = rng.lognormvariate(1, 0.8)
    query_ms = service_ms * rng.uniform(0.2, 0.7)
    jobs = rng.randrange(12)
    region = rng.choice(("eu", "us"))
    return (
        f"count#orders=1 measure#db.query={query_ms:.3f}ms measure#queue_time={wait_ms:.0f}ms "
        f"measure#cart.value={rng.uniform(5, 90):.2f} sample#jobs.waiting={jobs}jobs "
        f"source={region}"
    )


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.5f}"


def _join(head: str, samples: dict[str, object]) -> str:
    return " ".join([head, *(f"sample#{name}={value}" for name, value in samples.items())])
