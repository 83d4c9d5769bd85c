"""Several workers, killed at the worst time: another one takes over and sends each message once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from app.alerting.alert_worker import HEARTBEAT
from app.verdicts.verdict_record import VerdictRecord, unpack_verdict_records
from tests.support.incident import error
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.receivers import webhook

AUTH = ("shop", "any")


@asynccontextmanager
async def service(tmp_path: Path) -> AsyncIterator[tuple[ServiceProcess, RedisProcess]]:
    redis = RedisProcess(tmp_path / "redis")
    running = ServiceProcess(
        tmp_path / "service",
        REDIS_URL=f"redis://127.0.0.1:{redis.port}",
        WEB_CONCURRENCY="2",
    )
    await asyncio.to_thread(redis.start)
    try:
        await asyncio.to_thread(running.start)
        yield running, redis
    finally:
        await asyncio.to_thread(running.stop)
        await asyncio.to_thread(redis.kill)


async def until(condition: Callable[[], object], within_s: float = 45) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


def send(running: ServiceProcess, body: bytes) -> None:
    answer = httpx2.post(f"{running.url}/drain", content=body, auth=AUTH, trust_env=False)
    assert answer.status_code == 200


def add_channel(running: ServiceProcess, url: str) -> None:
    body = {"name": "ops", "kind": "webhook", "url": url}
    answer = httpx2.post(f"{running.url}/api/v1/alerts/channels", json=body, trust_env=False)
    assert answer.status_code == 201, answer.text


def crashes() -> bytes:
    """Crashes in minutes that are complete now or soon."""
    minute = int(time.time()) // 60 * 60
    return b"".join(
        error(minute - 60 * back + 5 * number, "H10") for back in (1, 2, 3) for number in range(3)
    )


def evaluating_pid(redis: RedisProcess) -> int:
    """The process id of the worker that evaluates."""
    worker = redis.client.hget(f"dm:beat:{HEARTBEAT}", "worker")
    return int(worker.rpartition(b"-")[2]) if isinstance(worker, bytes) else 0


def verdict_record(redis: RedisProcess) -> VerdictRecord:
    """The stored verdict of the app."""
    data = redis.client.hget("dm:{!alerts}:verdicts", "shop")
    assert isinstance(data, bytes)
    return unpack_verdict_records({"shop": data})["shop"]


@pytest.mark.timeout(210)
async def test_the_successor_of_a_worker_killed_during_delivery_sends_the_same_message(
    tmp_path: Path,
) -> None:
    async with webhook() as hook, service(tmp_path) as (running, redis):
        hook.answers = [0]  # receives the first message but never answers
        await asyncio.to_thread(send, running, crashes())
        await asyncio.to_thread(add_channel, running, hook.url)
        await until(lambda: hook.received)
        killed_pid = evaluating_pid(redis)
        before = verdict_record(redis)
        os.kill(killed_pid, signal.SIGKILL)

        await until(lambda: len(hook.received) == 2)
        first, second = hook.received
        assert first.json["id"] == second.json["id"]
        assert first.json["alerts"][0]["rule"] == "app-broken"
        await until(lambda: not redis.client.hlen("dm:{!alerts}:outbox"))
        await until(lambda: evaluating_pid(redis) not in (0, killed_pid), within_s=90)
        assert len(hook.received) == 2
        judged_s = before.verdict.judged_s
        await until(lambda: verdict_record(redis).verdict.judged_s > judged_s, within_s=90)
        after = verdict_record(redis)
        assert after.verdict.state == before.verdict.state == "down"
        assert after.verdict.since_s == before.verdict.since_s


async def test_a_worker_that_stops_releases_the_lease_immediately(tmp_path: Path) -> None:
    async with webhook() as hook, service(tmp_path) as (running, redis):
        await asyncio.to_thread(send, running, crashes())
        await asyncio.to_thread(add_channel, running, hook.url)
        await until(lambda: hook.received)
        await until(lambda: evaluating_pid(redis))
        first_token = redis.client.get("dm:{!alerts}:lease")
        os.kill(evaluating_pid(redis), signal.SIGTERM)
        await until(lambda: redis.client.get("dm:{!alerts}:lease") != first_token, within_s=14)
        await until(lambda: redis.client.get("dm:{!alerts}:lease"))

        assert len(hook.received) == 1
