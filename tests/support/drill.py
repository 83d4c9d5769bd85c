"""Runs a drill: the real service with two workers under load, while a fault is injected.

Afterwards the answers that senders got are compared with the answers to queries.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from app.traffic.logplex_sender import LOGPLEX, LogplexBehaviour, LogplexSender
from app.traffic.simulated_lines import SimulatedLine
from tests.support.faults import FaultProxy, fault_proxy
from tests.support.lines import frame, memory, router
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.truth import Answers, Difference, Truth, differences

WORKERS = 2
FOLD_TIMEOUT_S = 60.0
DELIVERY_TIMEOUT_S = 120.0
SPREAD_S = 1_800  # timestamps of lines lie within this time before now, in many slots


@dataclass(frozen=True)
class Size:
    """The size of a drill: small in CI, large for the published table."""

    messages: int
    kills: int
    outage_s: float
    apps: int = 3
    connections: int = 3  # for each app
    messages_per_s: int = 4_000


@dataclass
class Stage:
    """The environment of a drill: the running service on some store."""

    size: Size
    random: random.Random
    service: ServiceProcess
    kills: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ports(self) -> Sequence[int]:
        """The ports to which the connections of each app go, in turn."""
        return [self.service.port]

    async def pause(self, low_s: float = 0.1, high_s: float = 0.5) -> None:
        """Let the load run for a random time."""
        await asyncio.sleep(self.random.uniform(low_s, high_s))

    async def kill(self, pid: int) -> None:
        """Kill a process with SIGKILL, and count it."""
        os.kill(pid, signal.SIGKILL)
        self.kills += 1

    async def ready(self) -> httpx2.Response:
        """The answer of /readyz."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.service.url}/readyz")

    def expect(self, holds: bool, problem: str) -> None:
        """Record a problem unless the condition holds."""
        if not holds:
            self.problems.append(problem)


@dataclass
class World(Stage):
    """A service with one Redis behind a fault proxy."""

    redis: RedisProcess = field(kw_only=True)
    proxy: FaultProxy = field(kw_only=True)


Fault = Callable[[Any], Coroutine[None, None, None]]
BuildStage = Callable[["Drill", Size, random.Random], AbstractAsyncContextManager[Stage]]


@dataclass(frozen=True)
class Drill:
    """A fault to inject under load, and the promises that may be broken.

    Attributes:
        description: the row in docs/guarantees.md.
        settings: of the service, as environment variables.
        redis: options of the server.
        behaviour: of the senders.
    """

    name: str
    fault: Fault
    description: str
    settings: Mapping[str, str] = field(default_factory=dict)
    redis: Sequence[str] = ("--appendfsync", "always")
    behaviour: LogplexBehaviour = LOGPLEX
    build: BuildStage | None = None  # the environment; None for one Redis behind a proxy
    clock_off_s: float = 0.0
    may_drop: bool = False  # senders may lose lines: neither store nor spool accepts them
    may_use_up_tries: bool = False  # kills may hit all three attempts of a batch
    may_lose: bool = False  # acknowledged batches may be lost, but none may count twice


@dataclass
class Result:
    """The result of a drill. Message counts include the L10 frames that senders add."""

    offered: int = 0
    acknowledged: int = 0
    rejected: int = 0
    uncertain: int = 0
    kills: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all promises held."""
        return not self.differences and not self.problems


@dataclass
class _Stream:
    """One app, and the senders that act as its Logplex nodes."""

    app: str
    truth: Truth
    senders: list[LogplexSender]


async def run(drill: Drill, size: Size, seed: int) -> Result:
    """Run a drill and compare what senders and queries report."""
    start_time_s = time.monotonic()
    rng = random.Random(f"{seed} {drill.name}")
    async with (drill.build or world_of)(drill, size, rng) as world:
        streams = [_stream(world, drill, f"app-{number}") for number in range(size.apps)]
        start_s = int(time.time() + drill.clock_off_s) - SPREAD_S - 60
        sending = [
            asyncio.create_task(sender.run()) for stream in streams for sender in stream.senders
        ]
        fault = asyncio.create_task(drill.fault(world))
        feeding = asyncio.create_task(_feed(streams, world, drill, fault))
        try:
            await fault
            await feeding
            for stream in streams:
                for sender in stream.senders:
                    sender.close()
            await asyncio.wait_for(asyncio.gather(*sending), DELIVERY_TIMEOUT_S)
            await _wait_until_folded(world)
            end_s = int(time.time() + max(0.0, drill.clock_off_s)) + 60
            result = await asyncio.to_thread(_compare, world, drill, streams, start_s, end_s)
        finally:
            for task in (fault, feeding, *sending):
                task.cancel()
        result.seconds = time.monotonic() - start_time_s
        return result


@asynccontextmanager
async def world_of(drill: Drill, size: Size, rng: random.Random) -> AsyncIterator[World]:
    """Run the service of a drill, and its Redis behind a fault proxy."""
    with TemporaryDirectory(prefix="dynometer-drill-") as name:
        directory = Path(name)
        redis = RedisProcess(directory / "redis", *drill.redis)
        await asyncio.to_thread(redis.start)
        try:
            async with fault_proxy(redis.port) as proxy:
                service = ServiceProcess(
                    directory,
                    REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0",
                    WEB_CONCURRENCY=str(WORKERS),
                    **drill.settings,
                )
                try:
                    await asyncio.to_thread(service.start)
                    yield World(size, rng, service, redis=redis, proxy=proxy)
                finally:
                    await asyncio.to_thread(service.stop)
        finally:
            redis.client.close()
            with suppress(ProcessLookupError):
                os.kill(redis.pid, signal.SIGCONT)
            redis.kill()


def _stream(world: Stage, drill: Drill, app: str) -> _Stream:
    truth = Truth()
    senders = [
        LogplexSender(
            f"http://{app}:any@127.0.0.1:{port}/drain",
            f"d.{app}",
            behaviour=drill.behaviour,
            on_acknowledged=truth.acknowledged,
            on_dropped=truth.given_up,
        )
        for port in islice(cycle(world.ports), world.size.connections)
    ]
    return _Stream(app, truth, senders)


async def _feed(
    streams: Sequence[_Stream], world: Stage, drill: Drill, fault: asyncio.Task[None]
) -> None:
    """Feed lines at a steady pace until there are enough and the fault has ended."""
    count = 0
    start_time_s = time.monotonic()
    senders = [sender for stream in streams for sender in stream.senders]
    while count < world.size.messages or not fault.done():
        for _ in range(20):
            line = _line(world.random, time.time() + drill.clock_off_s)
            world.random.choice(senders).offer(line)
            count += 1
        while count > (time.monotonic() - start_time_s) * world.size.messages_per_s:
            await asyncio.sleep(0.005)
        while any(
            sender.buffered_messages > LOGPLEX.buffer_messages_max // 2 for sender in senders
        ):
            if drill.may_drop:
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)


def _line(rng: random.Random, now_s: float) -> SimulatedLine:
    at_s = now_s - rng.random() ** 3 * SPREAD_S
    dyno = f"web.{rng.randint(1, 4)}"
    kind = rng.random()
    if kind < 0.8:
        status = rng.choice((200, 200, 200, 200, 302, 404, 500))
        service_ms = int(rng.lognormvariate(4.5, 1.3))
        text = router(at_s, dyno=dyno, status=str(status), service=f"{service_ms}ms")
        return SimulatedLine(now_s, text, status)
    if kind < 0.85:
        head = 'at=error code=H12 desc="Request timeout"'
        text = router(at_s, head=head, dyno=dyno, status="503", service="30000ms")
        return SimulatedLine(now_s, text, 503, "H12")
    if kind < 0.9:
        return SimulatedLine(now_s, memory(at_s, dyno=dyno))
    return SimulatedLine(now_s, frame("hello", app_name="app", procid=dyno, at_s=at_s))


async def _wait_until_folded(world: Stage) -> None:
    """Wait until the spool and all inboxes are empty."""
    deadline = time.monotonic() + FOLD_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            body = (await world.ready()).json()
            idle = body["store"]["status"] == "ok" and not body["spool"]["bytes"]
            if idle and not body["folding"]["backlog_batches"]:
                return
        await asyncio.sleep(0.1)
    world.problems.append("some batches were not folded in time")


def _is_fewer(actual: object, total: object) -> bool:
    return isinstance(actual, int) and isinstance(total, int) and actual < total


def _compare(
    world: Stage, drill: Drill, streams: Sequence[_Stream], start_s: int, end_s: int
) -> Result:
    result = Result(kills=world.kills, problems=world.problems, notes=world.notes)
    with httpx2.Client(base_url=world.service.url, trust_env=False, timeout=60) as client:
        for stream in streams:
            answers = Answers(client, stream.app, start_s, end_s)
            result.differences += differences(stream.truth, answers)
            counts = [sender.counts for sender in stream.senders]
            offered_count = sum(entry.offered_messages for entry in counts)
            overflow_count = sum(entry.overflowed_messages for entry in counts)
            acknowledged_count = sum(entry.acknowledged_messages for entry in counts)
            missing_count = overflow_count + stream.truth.dropped + stream.truth.uncertain_messages
            if offered_count != acknowledged_count + missing_count:
                result.differences.append(
                    ("offered", offered_count, acknowledged_count + missing_count)
                )
            result.offered += offered_count
            result.acknowledged += stream.truth.messages
            result.rejected += overflow_count + stream.truth.dropped
            result.uncertain += stream.truth.uncertain_messages
    if drill.may_lose:
        fewer = [
            (name, total, actual)
            for name, total, actual in result.differences
            if _is_fewer(actual, total)
        ]
        result.differences = [
            difference for difference in result.differences if difference not in fewer
        ]
        result.notes += [f"lost: {actual} of {total} {name}" for name, total, actual in fewer]
    may_reject = drill.may_drop or drill.may_use_up_tries
    rejected_count = 0 if drill.may_drop else result.rejected
    rejected_count += 0 if may_reject else result.uncertain
    if rejected_count:
        result.problems.append(f"{rejected_count} messages were rejected")
    return result
