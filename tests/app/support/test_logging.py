"""The service's log: lines for people, or JSON objects for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx2
import pytest

from tests.support.lines import router
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.servers import wait_until


@pytest.mark.parametrize("log_format", ["json", "human"])
def test_a_store_outage_is_two_lines_and_a_request_is_none(tmp_path: Path, log_format: str) -> None:
    store = RedisProcess(tmp_path / "redis")
    store.start()
    service = ServiceProcess(
        tmp_path / "service",
        REDIS_URL=f"redis://127.0.0.1:{store.port}/0",
        DYNOMETER_LOG_FORMAT=log_format,
        DYNOMETER_DYNO="1",
    )
    service.start()

    def send() -> int:
        with httpx2.Client(base_url=service.url, auth=("shop", "any"), trust_env=False) as client:
            return client.post("/drain", content=router(time.time())).status_code

    try:
        assert send() == 200
        store.kill()
        assert send() == 200
        store.start()
        wait_until(
            lambda: send() == 200 and "The store is available again" in service.log.read_text()
        )
    finally:
        service.stop()
        store.client.close()
        store.kill()

    lines = [line for line in service.log.read_text().splitlines() if "drain" not in line]
    assert sum("Redis is unavailable or rejected a command" in line for line in lines) == 1
    assert sum("The store is available again after" in line for line in lines) == 1
    assert sum("Ignoring unknown setting DYNOMETER_DYNO." in line for line in lines) == 1
    if log_format == "json":
        events = [json.loads(line) for line in service.log.read_text().splitlines()]
        assert {"time", "level", "logger", "message", "pid"} <= set(events[0])
        assert any(event["message"].startswith("listening on http") for event in events)
        assert {event["level"] for event in events} <= {"info", "warning"}
