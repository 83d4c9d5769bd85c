"""Drills on a Redis Cluster: the real service with two workers while nodes join, move and fail."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from app.storage.redis.keys import inbox_key
from tests.support.cluster import Node, RedisCluster, running_cluster
from tests.support.drill import WORKERS, Drill, Size, Stage
from tests.support.lines import router
from tests.support.processes import ServiceProcess

PROBE_INTERVAL_S = 0.02
TIMEOUT_S = 30.0


@dataclass
class ClusterStage(Stage):
    """A service with a cluster of three primaries, each with a replica."""

    cluster: RedisCluster = field(kw_only=True)

    def owner(self, app: str) -> Node:
        """The primary that serves an app."""
        return self.cluster.owner(inbox_key(app))

    async def until(self, condition: Callable[[], bool], description: str) -> float:
        """Wait until the condition holds; returns the seconds that it took."""
        start_time_s = time.monotonic()
        while not await asyncio.to_thread(condition):
            if time.monotonic() - start_time_s > TIMEOUT_S:
                raise AssertionError(f"timed out waiting for {description}")
            await asyncio.sleep(0.01)
        return time.monotonic() - start_time_s

    async def until_stored(self) -> float:
        """Wait until the spool is empty and the store available; returns the seconds taken."""
        start_time_s = time.monotonic()
        while True:
            body = (await self.ready()).json()
            if body["store"]["status"] == "ok" and not body["spool"]["bytes"]:
                return time.monotonic() - start_time_s
            if time.monotonic() - start_time_s > TIMEOUT_S:
                raise AssertionError(f"batches are still waiting: {body}")
            await asyncio.sleep(0.01)

    def app_on(self, node: Node) -> str:
        """An app name that this primary serves."""
        names = (f"other-{number}" for number in range(1_000))
        return next(name for name in names if self.owner(name) is node)

    def app_elsewhere(self, node: Node) -> str:
        """An app name that another primary serves."""
        names = (f"other-{number}" for number in range(1_000))
        return next(name for name in names if self.owner(name) is not node)

    @asynccontextmanager
    async def probing(self, app: str) -> AsyncIterator[list[float]]:
        """POST one line of an app after the other; yields a growing list of their durations."""
        durations_s: list[float] = []
        probing = asyncio.create_task(self._probe(app, durations_s))
        try:
            yield durations_s
        finally:
            probing.cancel()

    async def _probe(self, app: str, durations_s: list[float]) -> None:
        url = f"http://{app}:any@127.0.0.1:{self.service.port}/drain"
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                start_time_s = time.monotonic()
                line = router(time.time(), dyno="web.1", status="200", service="10ms")
                answer = await client.post(url, content=line, headers={"Logplex-Msg-Count": "1"})
                durations_s.append(time.monotonic() - start_time_s)
                if answer.status_code != 200:
                    self.problems.append(f"a probe was answered with {answer.status_code}")
                await asyncio.sleep(PROBE_INTERVAL_S)


@asynccontextmanager
async def on_cluster(drill: Drill, size: Size, rng: random.Random) -> AsyncIterator[Stage]:
    """Run the service of a drill on a cluster of three primaries, each with a replica."""
    with TemporaryDirectory(prefix="dynometer-drill-") as name, running_cluster() as cluster:
        service = ServiceProcess(
            Path(name), REDIS_URL=cluster.url, WEB_CONCURRENCY=str(WORKERS), **drill.settings
        )
        try:
            await asyncio.to_thread(service.start)
            yield ClusterStage(size, rng, service, cluster=cluster)
        finally:
            for node in cluster.nodes:
                if node.is_frozen:
                    node.thaw()
            await asyncio.to_thread(service.stop)
