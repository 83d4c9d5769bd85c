"""Our own parts against a library's way to do the same: CPU time of this process, as ratios.

The section "Written by hand, and why" of ARCHITECTURE.md has the figures. The row of the charts
needs pygal, which nothing else uses: `uv pip install pygal`.
"""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import redis.asyncio
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from redis.asyncio.cluster import RedisCluster
from uvicorn.server import ServerState

from app.config import Settings
from app.dashboard.charts import Chart, ChartLine
from app.ingest.spool_file import SpoolFile
from app.monitoring.text_format import TEXT, MetricFamily, render_header
from app.receivers.http_fast_path import DrainConnection
from app.service.asgi import build_app
from app.storage.memory import MemoryStore
from app.storage.redis.cluster import ClusterTopology
from app.storage.redis.single import SingleRedis, create_pool
from app.storage.redis.urls import Host
from app.web.pages.svg_charts import draw_charts
from bench.corpus import SHARES, START_S, frames_by_class, in_shares
from bench.measure import interleaved, median_ratio, table
from tests.support.cluster import Node

ROUNDS = 9
POSTS = 300
CALLS, TASKS = 4_000, 16
RECORDS, RECORD_BYTES = 200, 4_000
DAMAGES = 200
SAMPLES = 20_000
CHARTS, POINTS = 9, 180
Pair = tuple[Callable[[], object], Callable[[], object]]


class _Client(asyncio.Transport):
    """The client's end of a connection: counts answers, keeps nothing."""

    answers = 0

    def write(self, data: Any) -> None:
        self.answers += bytes(data).count(b"HTTP/1.1 200")

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def posts(runner: asyncio.Runner, data_dir: str) -> Pair:
    """POSTs of 100 lines: the fast path, and uvicorn's parser with the same app over ASGI."""
    store = MemoryStore(lambda: START_S)
    app = build_app(Settings.from_environ({"DYNOMETER_DATA_DIR": data_dir}), store, lambda: START_S)
    config = uvicorn.Config(app, http=DrainConnection, proxy_headers=False, log_config=None)
    config.load()
    body = b"".join(islice(in_shares(frames_by_class(), SHARES), 100))

    async def send(extra: bytes) -> None:
        client = _Client()
        connection = DrainConnection(config, ServerState(), {})
        connection.connection_made(client)
        for number in range(POSTS):
            head = (
                b"POST /drain HTTP/1.1\r\nHost: localhost\r\nLogplex-Drain-Token: d.1\r\n"
                b"Authorization: Basic YmVuY2g6c2VjcmV0\r\nLogplex-Frame-Id: %d-%d\r\n%b"
                b"Content-Length: %d\r\n\r\n"
            ) % (id(client), number, extra, len(body))
            connection.data_received(head + body)
            while client.answers <= number:  # noqa: ASYNC110
                await asyncio.sleep(0)
        connection.connection_lost(None)

    return lambda: runner.run(send(b"")), lambda: runner.run(send(b"TE: gzip\r\n"))


def calls(
    runner: asyncio.Runner,
    own: SingleRedis | ClusterTopology,
    library: Callable[..., Awaitable[Any]],
) -> Pair:
    """The same calls from several tasks at once."""

    async def share(send: Callable[[int], Awaitable[Any]]) -> None:
        async def task(first: int) -> None:
            for number in range(first, CALLS, TASKS):
                await send(number)

        await asyncio.gather(*(task(first) for first in range(TASKS)))

    return (
        lambda: runner.run(share(lambda n: own.send([("SET", f"dm:{{{n % 50}}}", b"x" * 500)]))),
        lambda: runner.run(share(lambda n: library("SET", f"dm:{{{n % 50}}}", b"x" * 500))),
    )


def records(directory: Path) -> Pair:
    """Records that are each synced to disk before the next one: our file, and SQLite."""
    file = SpoolFile.create(directory / "spool")
    database = sqlite3.connect(directory / "sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, data BLOB)")
    record = b"x" * RECORD_BYTES

    def append() -> None:
        for _ in range(RECORDS):
            file.append([record], START_S)

    def insert() -> None:
        for _ in range(RECORDS):
            database.execute("INSERT INTO records (data) VALUES (?)", (record,))

    return append, insert


def damage(directory: Path) -> list[tuple[str, float, float]]:
    """(format, records lost, records read with wrong contents) per damaged byte."""
    contents = [b"%06d" % number * (RECORD_BYTES // 6) for number in range(RECORDS)]

    def read_spool(path: Path) -> list[bytes]:
        file = SpoolFile.adopt(path)
        assert file is not None
        records = file.read(RECORDS, 2**30).records
        file.close()
        return records

    def read_sqlite(path: Path) -> list[bytes]:
        with closing(sqlite3.connect(path)) as database:
            try:
                return [data for (data,) in database.execute("SELECT data FROM records")]
            except sqlite3.DatabaseError:
                return []

    file = SpoolFile.create(directory / "intact-spool")
    file.append(contents, START_S)
    file.close()
    with closing(sqlite3.connect(directory / "intact-sqlite")) as database:
        database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, data BLOB)")
        database.executemany(
            "INSERT INTO records (data) VALUES (?)", ((data,) for data in contents)
        )
        database.commit()
    rows = []
    for name, read in (("spool", read_spool), ("sqlite", read_sqlite)):
        intact = (directory / f"intact-{name}").read_bytes()
        randomness = Random(1)
        lost_count = wrong_count = 0
        for _ in range(DAMAGES):
            data = bytearray(intact)
            data[randomness.randrange(len(data))] ^= 0xFF
            path = directory / f"damaged-{name}"
            path.write_bytes(data)
            readable = read(path)
            lost_count += RECORDS - len(readable)
            wrong_count += len(set(readable) - set(contents))
        rows.append((name, lost_count / DAMAGES, wrong_count / DAMAGES))
    return rows


def samples() -> Pair:
    """A counter with many labels, as text: own, and prometheus_client's."""
    rows = [(f"app-{number % 200}", "web", str(number), number) for number in range(SAMPLES)]

    class Counter(Collector):
        def collect(self) -> Iterator[CounterMetricFamily]:
            family = CounterMetricFamily("requests", "help", labels=("app", "type", "status"))
            for app, process_type, status, value in rows:
                family.add_metric((app, process_type, status), value)
            yield family

    registry = CollectorRegistry()
    registry.register(Counter())

    def render() -> str:
        lines = [
            f'requests_total{{app="{app}",type="{process_type}",status="{status}"}} {value}\n'
            for app, process_type, status, value in rows
        ]
        return render_header(MetricFamily("requests", "counter", "help"), TEXT) + "".join(lines)

    return render, lambda: generate_latest(registry)


def charts() -> Pair | None:
    """The charts of a page: own, and pygal's."""
    if not find_spec("pygal"):
        return None
    pygal = importlib.import_module("pygal")
    lines = [
        ChartLine(f"line {number}", [(step * number) % 97 for step in range(POINTS)])
        for number in range(1, 5)
    ]
    view = SimpleNamespace(
        start_s=0,
        end_s=POINTS * 60,
        charts=[Chart("key", "Title", "ms", "lines", lines, "", "")] * CHARTS,
        events=[],
        alerts=SimpleNamespace(marks=[]),
    )

    def draw() -> None:
        for _ in range(CHARTS):
            chart = pygal.Line(show_dots=False)
            for line in lines:
                chart.add(line.name, line.values)
            chart.render()

    return lambda: draw_charts(cast("Any", view)), draw


@contextmanager
def connected(runner: asyncio.Runner, directory: Path) -> Iterator[tuple[Pair, Pair]]:
    """Calls to a Redis, and to a cluster of one node that holds every slot."""
    with ExitStack() as stack:
        (directory / "cluster").mkdir()
        single = Node(directory)
        stack.callback(single.kill)
        node = Node(directory / "cluster", "--cluster-enabled", "yes")
        stack.callback(node.kill)
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        while b"cluster_state:ok" not in node.client.execute_command("CLUSTER", "INFO"):
            pass

        def connect(address: object) -> SingleRedis:
            return SingleRedis(create_pool(f"redis://{address}", TASKS))

        async def clients() -> tuple[Any, ...]:
            pool = create_pool(f"redis://{single.address}", TASKS)
            return (
                connect(single.address),
                redis.asyncio.Redis.from_pool(pool),
                ClusterTopology([Host("127.0.0.1", node.port)], connect),
                RedisCluster(host="127.0.0.1", port=node.port),
            )

        own, library, topology, library_cluster = runner.run(clients())
        yield (
            calls(runner, own, library.execute_command),
            calls(runner, topology, library_cluster.execute_command),
        )
        for close in (own.close, library.aclose, topology.close, library_cluster.aclose):
            runner.run(close())


def run() -> None:
    """Print the tables."""
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with connected(runner, directory) as (redis_calls, cluster_calls):
            pairs = {
                "POSTs of 100 lines: fast path, uvicorn's parser and ASGI": posts(runner, name),
                "calls to Redis: our connection, redis-py's pool": redis_calls,
                "calls to a cluster: our topology, redis-py's": cluster_calls,
                "records synced to disk: spool file, SQLite": records(directory),
                "samples of /metrics: our text, prometheus_client's": samples(),
                "charts of a page: our paths, pygal's": charts(),
            }
            rows = [(work, *compare(*pair)) for work, pair in pairs.items() if pair is not None]
        print(table(("work", "own, ms", "library, ms", "library / own"), rows))
        print()
        print(table(("one byte damaged", "records lost", "records wrong"), damage(directory)))


def compare(own: Callable[[], object], library: Callable[[], object]) -> tuple[str, str, str]:
    """Median times of both, and the median of the rounds' ratios."""
    times = interleaved({"own": own, "library": library}, ROUNDS)
    ratio = median_ratio(times["library"], times["own"])
    return (
        f"{median(times['own']) * 1000:.1f}",
        f"{median(times['library']) * 1000:.1f}",
        f"{ratio:.1f}",
    )


if __name__ == "__main__":
    run()
