"""An earlier release and this one on a store: both accept the same drains, and none seems lost."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.support.lines import router
from tests.support.older_release import OLDER_RELEASE, unpack_release
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.servers import wait_until

TOKEN = "an-admin-token-of-some-length"
WITHIN_S = 10.0


class Releases(NamedTuple):
    """The services of both releases, and their Redis."""

    redis: RedisProcess
    older: ServiceProcess
    present: ServiceProcess


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[Releases]:
    redis = RedisProcess(tmp_path / "redis")
    settings = {
        "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
        "DYNOMETER_ADMIN_TOKEN": TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    code = str(unpack_release(OLDER_RELEASE, tmp_path))
    older = ServiceProcess(tmp_path / "older", **settings, PYTHONPATH=code)
    key = "a-secret-key-of-some-length"
    present = ServiceProcess(tmp_path / "present", **settings, DYNOMETER_SECRET_KEY=key)
    redis.start()
    try:
        older.start()
        present.start()
        yield Releases(redis, older, present)
    finally:
        older.stop()
        present.stop()
        redis.client.close()
        redis.kill()


def add_drain(service: ServiceProcess, app: str) -> str:
    answer = httpx2.post(
        f"{service.url}/api/v1/drains",
        json={"apps": [app]},
        headers={"Authorization": f"Bearer {TOKEN}"},
        trust_env=False,
    )
    match = re.search(rf"//{app}:([A-Za-z0-9_-]+)@", answer.raise_for_status().text)
    assert match
    return match[1]


def remove_drain(service: ServiceProcess, app: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "app.cli", "drains", "remove", app, "--yes"],
        cwd=service.directory,
        env=service.environ,
        capture_output=True,
        check=True,
    )


def status_of(service: ServiceProcess, app: str, secret: str) -> int:
    url = f"{service.url}/drain"
    line = router(time.time())
    return httpx2.post(url, content=line, auth=(app, secret), trust_env=False).status_code


def is_accepted(service: ServiceProcess, app: str, secret: str) -> bool:
    return status_of(service, app, secret) == 200


def is_rejected(service: ServiceProcess, app: str, secret: str) -> bool:
    return status_of(service, app, secret) == 401


def assert_both_accept(releases: Releases, app: str, secret: str) -> None:
    assert is_accepted(releases.present, app, secret)
    # The older release does not read the drains again within 0.1 s after it read them.
    wait_until(partial(is_accepted, releases.older, app, secret), WITHIN_S)


def has_lost_data(service: ServiceProcess) -> bool:
    ready = httpx2.get(f"{service.url}/readyz", trust_env=False).json()
    return bool(ready["store"]["lost_data"])


@pytest.mark.timeout(120)
def test_drains_of_either_release_are_accepted_and_removed_by_both(releases: Releases) -> None:
    _, older, present = releases
    for adding, removing, app in ((older, present, "shop"), (present, older, "blog")):
        secret = add_drain(adding, app)
        assert_both_accept(releases, app, secret)
        remove_drain(removing, app)  # it is the only one
        for service in (older, present):
            wait_until(partial(is_rejected, service, app, secret), WITHIN_S)
    assert not has_lost_data(present)


@pytest.mark.timeout(120)
def test_a_loss_is_recognized_although_an_older_release_writes_to_the_store(
    releases: Releases,
) -> None:
    redis, older, present = releases
    secret = add_drain(older, "shop")
    assert_both_accept(releases, "shop", secret)
    redis.client.flushall()
    add_drain(older, "blog")
    wait_until(lambda: has_lost_data(present), WITHIN_S)
    assert status_of(present, "shop", secret) == 200
    assert status_of(present, "shop", "wrong") == 503
