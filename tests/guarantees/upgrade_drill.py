"""A rolling upgrade: the service of an earlier release and the present one share a Redis.

Lines go to both, and both are killed in turn. Lines that only the present release understands go
to it alone, and it is killed before it folds them. The older one starts then, finds their batches
in the inbox, and folds them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from app.storage.redis.keys import inbox_key
from tests.support.drill import Drill, Size, Stage, World, world_of
from tests.support.lines import frame
from tests.support.older_release import OLDER_RELEASE, unpack_release
from tests.support.processes import ServiceProcess
from tests.support.truth import STEPS, Answers

APP = "newer"
LINES = (
    ("web.1", "Stopping all processes with SIGTERM"),  # an event of the section `lifecycle`
    ("web.2", "Process running mem=300M(58.6%)"),  # a gauge by name
    ("web.3", "Process exited with status 137"),
)
MEMORY_BYTES = 300 * 2**20
POSTS_A_KILL = 4
FOLD_WITHIN_S = 20.0
MINUTE_S = 60


@dataclass
class UpgradeStage(World):
    """Two services on one Redis.

    Attributes:
        older: of the earlier release.
        minutes: whose newer lines were sent, in Unix seconds.
    """

    older: ServiceProcess = field(kw_only=True)
    minutes: list[int] = field(default_factory=list)

    @property
    def ports(self) -> Sequence[int]:
        return [self.service.port, self.older.port]


@asynccontextmanager
async def beside_older_release(
    drill: Drill, size: Size, rng: random.Random
) -> AsyncIterator[Stage]:
    """Run the service of a drill, and one of the earlier release."""
    async with world_of(drill, size, rng) as world:
        with TemporaryDirectory(prefix="dynometer-older-") as name:
            environ = {
                "PYTHONPATH": str(unpack_release(OLDER_RELEASE, Path(name))),
                "REDIS_URL": world.service.environ["REDIS_URL"],
                "WEB_CONCURRENCY": world.service.environ["WEB_CONCURRENCY"],
                "DYNOMETER_FOLD_INTERVAL": "1s",
            }
            older = ServiceProcess(Path(name, "service"), **environ)
            try:
                await asyncio.to_thread(older.start)
                yield UpgradeStage(**vars(world), older=older)
            finally:
                await asyncio.to_thread(older.stop)


async def kill_both_releases(stage: UpgradeStage) -> None:
    """Kill the services in turn and start them again; newer lines are counted exactly."""
    while stage.kills < stage.size.kills:
        await asyncio.to_thread(stage.older.kill)
        await stage.pause()
        await _send_newer_lines(stage)
        await _kill_before_it_folds(stage)
        waiting_batches = stage.redis.client.llen(inbox_key(APP))
        stage.expect(waiting_batches > 0, "the older release found nothing to fold")
        await asyncio.to_thread(stage.older.start)
        await _wait_until_folded(stage)
        await asyncio.to_thread(stage.service.start)
        stage.kills += 2
    await asyncio.to_thread(_check_newer_lines, stage)


async def _kill_before_it_folds(stage: UpgradeStage) -> None:
    """Kill the present service, its workers first: they fold if they end with their parent."""
    os.kill(stage.service.pid, signal.SIGSTOP)  # it would start them again
    for worker in stage.service.workers:
        os.kill(worker, signal.SIGKILL)
    await asyncio.to_thread(stage.service.kill)


async def _wait_until_folded(stage: UpgradeStage) -> None:
    deadline_s = time.monotonic() + FOLD_WITHIN_S
    while stage.redis.client.llen(inbox_key(APP)):
        if time.monotonic() > deadline_s:
            stage.problems.append("the older release did not fold the newer lines")
            return
        await asyncio.sleep(0.05)


async def _send_newer_lines(stage: UpgradeStage) -> None:
    url = f"http://{APP}:any@127.0.0.1:{stage.service.port}/drain"
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        for _ in range(POSTS_A_KILL):
            at_s = time.time() - stage.random.randrange(2 * MINUTE_S)  # so that they merge
            body = b"".join(frame(text, procid=dyno, at_s=at_s) for dyno, text in LINES)
            answer = await client.post(url, content=body, headers={"Logplex-Msg-Count": "3"})
            stage.expect(answer.status_code == 200, f"newer lines got {answer.status_code}")
            stage.minutes.append(int(at_s) // MINUTE_S * MINUTE_S)


def _check_newer_lines(stage: UpgradeStage) -> None:
    start_s, end_s = min(stage.minutes), max(stage.minutes) + MINUTE_S
    with httpx2.Client(base_url=stage.service.url, trust_env=False, timeout=60) as client:
        answers = Answers(client, APP, start_s, end_s)
        for step in STEPS:
            exits = sum(answers.sums(step, "dyno_exits").values())
            stage.expect(exits == len(stage.minutes), f"{exits} exits at {step}")
            memory = answers.query(step, "memory_running_bytes", ["max"])
            values = {value for series in memory.values() for value in series} - {None}
            stage.expect(values == {MEMORY_BYTES}, f"{values} bytes of memory at {step}")
        body = client.get(
            f"/api/v1/apps/{APP}/events", params={"start": start_s, "end": end_s, "kind": "stop"}
        ).json()
    stops = sum(event["count"] for event in body["events"])
    stage.expect(stops == len(stage.minutes), f"{stops} stops of {len(stage.minutes)}")


DRILLS = (
    Drill(
        "older-release",
        kill_both_releases,
        "a rolling upgrade: an earlier release beside this one, SIGKILL of each in turn",
        settings={"DYNOMETER_FOLD_INTERVAL": "3s"},
        build=beside_older_release,
        may_use_up_tries=True,
    ),
)
