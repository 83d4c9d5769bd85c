"""Secrets and line contents must never be stored or shown.

Canaries are sent in every place from which they could leak. Then they are searched for in Redis, on
disk, in the log, in answers, and in process titles.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from tests.support.faults import fault_proxy
from tests.support.lines import AT_S, app_line, frame, memory, router, timestamp
from tests.support.processes import ROOT, RedisProcess, ServiceProcess
from tests.support.servers import wait_until

# In the text of lines: data of visitors and developers, and mail addresses.
LINES = {
    "path": "canary-path-5f1c",
    "host": "canary-host-88ab",
    "request_id": "canary-request-19de",
    "fwd": "198.51.100.77",
    "email": "canary-mail-70aa@example.com",
    "command": "canary-command-3c3c",
    "output": "canary-output-e0e0",
    "config": "canary-config-value",
    "hostname": "canary-syslog-host",
    "msgid": "canary-msgid-2b2b",
    "user agent": "canary-agent-9d9d",
    "frame id": "canary-frame-id-4a4a",
}
ADMIN_TOKEN = "canary-admin-token-a1b2c3d4e5f6"
REDIS_PASSWORD = "canary-redis-password-77"
DAMAGED = "shop: 1 damaged batches set aside"  # the service must have logged both texts
UNAVAILABLE = "Check that it is running"
UNKNOWN_SECRET = "canary-strangers-secret-66"
UNKNOWN_USER = "canary-user-55@example.com"


def body() -> bytes:
    """Lines of every kind, with a canary wherever a client can write."""
    path, fwd = LINES["path"], LINES["fwd"]
    url, quoted_fwd = f"/{path}?q={LINES['email']}", f'"{fwd}"'
    common = router(path=url, fwd=quoted_fwd)
    head = f'at=error code=H12 desc="{path}"'
    error_line = router(path=url, fwd=quoted_fwd, status="503", head=head)
    lines_with_host = [
        line.replace(b"shop.example.com", LINES["host"].encode()) for line in (common, error_line)
    ]
    texts = [
        f"request_id={LINES['request_id']} dyno=web.1 connect=1ms service=1ms status=200 bytes=1",
        f"at=info method=GET path=/ dyno=web.1 connect={path} service=2ms status=200 bytes=1",
        f"at=error code=H99 method=GET path={path} dyno=web.1 status=503 bytes={path}",
    ]
    lines = [
        *(reframed(line) for line in lines_with_host),
        *(frame(text, procid="router", pri=158) for text in texts),
        frame(f"Starting process with command `{LINES['command']}`"),
        *(
            frame(f"{text} by user {LINES['email']}", app_name="app", procid="api")
            for text in (
                f"Set LANG={LINES['config']} config vars",
                "Set LANG config vars",
                "Release v3 created",
                f"Deploy {LINES['command']}",
                f"Scaled to web@1:{LINES['email']}",
                f"Starting process with command `{LINES['command']}`",
            )
        ),
        frame(f"State changed from {LINES['command']} to up"),
        frame(f"Error {path} (it is no code)"),
        frame(f"Error R14 ({LINES['output']})"),
        frame(f"source=web.1 dyno=heroku.1.{path} sample#memory_total={path}MB"),
        frame(f"source=web.1 sample#{path}=1.00MB sample#memory_total=1.00MB"),
        frame(f"Error L10 ({path}): 3 messages dropped since {path}", procid="logplex"),
        app_line(f"{LINES['output']} {LINES['email']} {LINES['user agent']}"),
        frame("x", procid=path, app_name=LINES["output"]),
        frame("x", procid=f"{path}.1"),
        memory(),
    ]
    text = b"".join(reframed(line) for line in lines)
    damaged_frame = LINES["output"].encode() + b" 12 <190>1 " + LINES["path"].encode()
    return text + damaged_frame


def reframed(line: bytes) -> bytes:
    """The frame with the current time, canaries as hostname and message id, and a correct count."""
    message = line.partition(b" ")[2]
    message = message.replace(timestamp(AT_S).encode(), timestamp(time.time()).encode(), 1)
    message = message.replace(b" host ", f" {LINES['hostname']} ".encode(), 1)
    message = message.replace(b" - ", f" {LINES['msgid']} ".encode(), 1)
    return b"%d %b" % (len(message), message)


class World:
    """A service of two workers with its secrets, a Redis with a password, and their output."""

    def __init__(self, directory: Path, redis_port: int, redis: RedisProcess) -> None:
        self.directory = directory
        self.redis = redis
        self.service = ServiceProcess(
            directory / "service",
            REDIS_URL=f"redis://:{REDIS_PASSWORD}@127.0.0.1:{redis_port}",
            WEB_CONCURRENCY="2",
            DYNOMETER_ADMIN_TOKEN=ADMIN_TOKEN,
            DYNOMETER_PUBLIC_URL="https://metrics.example.com",
        )
        self.drain_secret = ""
        self.read_token = ""

    def run(self, *words: str) -> str:
        """Run a command of the CLI; returns its output."""
        process = subprocess.run(
            [sys.executable, "-m", "app.cli", *words],
            cwd=self.directory,
            env=self.service.environ,
            capture_output=True,
            check=False,
        )
        return (process.stdout + process.stderr).decode()

    def post(self, user: str, secret: str, text: bytes) -> int:
        headers = {
            "User-Agent": LINES["user agent"],
            "Logplex-Frame-Id": LINES["frame id"] + os.urandom(4).hex(),
            "Logplex-Drain-Token": "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1",
            "X-Request-Id": LINES["request_id"],
        }
        return httpx2.post(
            f"{self.service.url}/drain?{LINES['path']}={secret}",
            content=text,
            auth=(user, secret),
            headers=headers,
            trust_env=False,
            timeout=10,
        ).status_code

    def get(self, path: str, token: str = ADMIN_TOKEN) -> str:
        answer = httpx2.get(
            f"{self.service.url}{path}",
            auth=("x", token),
            headers={"User-Agent": LINES["user agent"], "Referer": f"http://{LINES['host']}/"},
            trust_env=False,
            timeout=30,
        )
        return str(answer.headers) + answer.text

    @property
    def log(self) -> str:
        return self.service.log.read_text()

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "admin token": ADMIN_TOKEN,
            "Redis password": REDIS_PASSWORD,
            "a stranger's secret": UNKNOWN_SECRET,
            "a stranger's user": UNKNOWN_USER,
            "drain secret": self.drain_secret,
            "read token": self.read_token.partition("_")[2].partition("_")[2],
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The service after all canaries were sent, with and without Redis."""
    directory = tmp_path_factory.mktemp("canaries")
    server = RedisProcess(directory / "redis", "--requirepass", REDIS_PASSWORD)
    server.client = redis.Redis(port=server.port, password=REDIS_PASSWORD)
    server.start()
    try:
        yield asyncio.run(_expose(directory, server))
    finally:
        server.kill()


async def _expose(directory: Path, server: RedisProcess) -> World:
    async with fault_proxy(server.port) as proxy:
        world = World(directory, proxy.port, server)
        await asyncio.to_thread(world.service.start)
        try:
            await asyncio.to_thread(_use_with_redis, world)
            await proxy.refuse()
            await asyncio.to_thread(_use_without_redis, world)
            spool_files = [*world.service.directory.rglob("*.spool")]
            copy_directory = directory / "spooled"
            copy_directory.mkdir()
            for path in spool_files:
                (copy_directory / path.name).write_bytes(path.read_bytes())
            assert spool_files
        finally:
            await asyncio.to_thread(world.service.stop)
    return world


def _use_with_redis(world: World) -> None:
    secret = re.search(r"shop:([^@]+)@", world.run("drains", "add", "shop"))
    token = re.search(r"dyno_\S+", world.run("tokens", "add", "--app", "shop"))
    assert secret and token
    world.drain_secret, world.read_token = secret[1], token[0]
    world.redis.client.rpush("dm:{shop}:inbox", b"Ddamaged!" + b"\xff")
    assert world.post("shop", world.drain_secret, body()) == 200
    assert world.post("shop", UNKNOWN_SECRET, body()) == 401
    assert world.post(UNKNOWN_USER, UNKNOWN_SECRET, body()) == 401
    assert world.post(world.drain_secret, "shop", body()) == 401  # mixed up
    for path in _paths():
        _save_output(world, path, world.get(path))
        _save_output(world, path, world.get(path, world.read_token))
    _save_output(world, "wrong token", world.get("/api/v1/apps", UNKNOWN_SECRET))
    _save_output(world, "secret as token", world.get("/api/v1/apps", world.drain_secret))
    _save_output(world, "titles", _process_titles(world))
    # Unreadable data and keys of the wrong type could lead to tracebacks that quote data.
    world.redis.client.set("dm:{broken}:1m:0", b"\xff")
    world.redis.client.zadd("dm:apps:last_seen", {"broken": 1})
    world.redis.client.set("dm:{broken}:inbox", b"\xff")
    for path in ("/", "/metrics", "/readyz", "/api/v1/apps/broken/query?metric=requests"):
        _save_output(world, path, world.get(path))
    world.redis.client.delete("dm:{broken}:inbox", "dm:{broken}:1m:0")
    for words in (["doctor"], ["drains", "list"], ["drains", "list", "--json"], ["tokens", "list"]):
        _save_output(world, " ".join(words), world.run(*words))
    wait_until(lambda: DAMAGED in world.log)
    wait_until(lambda: not world.redis.client.exists("dm:{shop}:inbox"))


def _use_without_redis(world: World) -> None:
    assert world.post("shop", world.drain_secret, body()) == 200
    world.post("shop", UNKNOWN_SECRET, body())
    for path in _paths():
        _save_output(world, path, world.get(path))
    _save_output(world, "doctor", world.run("doctor"))
    wait_until(lambda: UNAVAILABLE in world.log)


def _paths() -> list[str]:
    return [
        *("/", "/docs", "/openapi.json", "/metrics", "/readyz", "/healthz", "/version"),
        *("/api/v1/apps", "/api/v1/drains", "/api/v1/tokens", "/api/v1/apps/shop/ledger"),
        *(
            f"/api/v1/apps/shop/query?metric={metric}&by=process_type&by={label}"
            for metric, label in (("requests", "dyno"), ("heroku_errors", "code"))
        ),
        "/api/v1/apps/shop/query?metric=nothing&stat=none",
    ]


def _save_output(world: World, name: str, text: str) -> None:
    output_directory = world.directory / "shown"
    output_directory.mkdir(exist_ok=True)
    number = len(list(output_directory.iterdir()))
    (output_directory / f"{number:03}-{re.sub('[^a-z]+', '-', name)}").write_text(text)


def _process_titles(world: World) -> str:
    pids = [world.service.pid, *world.service.workers]
    return "\n".join(
        Path(f"/proc/{pid}/{file}").read_bytes().decode()
        for pid in pids
        for file in ("cmdline", "comm")
    )


def search_places(world: World) -> Iterator[tuple[str, bytes]]:
    """Yield (name of a place, its contents) of all files and keys."""
    for path in world.directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(world.directory)), path.read_bytes()
    client = world.redis.client
    for key in client.scan_iter():
        yield f"key {key!r}", key
        yield f"value of {key!r}", _value(client, key)


def _value(client: redis.Redis, key: bytes) -> bytes:
    kind = client.type(key)
    parts: Any
    if kind == b"string":
        parts = [client.get(key)]
    elif kind == b"hash":
        parts = [part for item in client.hgetall(key).items() for part in item]
    elif kind == b"list":
        parts = client.lrange(key, 0, -1)
    elif kind == b"set":
        parts = client.smembers(key)
    else:
        assert kind == b"zset", kind
        parts = client.zrange(key, 0, -1)
    return b"\n".join(parts)


def test_the_search_covers_all_places(world: World) -> None:
    places = [name for name, data in search_places(world) if b"web.1" in data]
    for kind in ("value of b'dm:{shop}:1m:", "spooled/", "shown/", "redis/appendonlydir/"):
        assert any(name.startswith(kind) for name in places), (kind, places)
    assert DAMAGED in world.log
    assert UNAVAILABLE in world.log


@pytest.mark.parametrize("kind", LINES)
def test_nothing_that_a_client_wrote_is_stored_or_shown(world: World, kind: str) -> None:
    canary = LINES[kind].encode().lower()
    assert [name for name, data in search_places(world) if canary in data.lower()] == []


def test_no_secret_is_stored_or_shown(world: World) -> None:
    for kind, secret in world.secrets.items():
        assert len(secret) > 16
        for name, data in search_places(world):
            assert secret.encode() not in data, (kind, name)
            assert json.dumps(secret)[1:-1].encode() not in data, (kind, name)


def test_a_password_that_breaks_the_address_is_not_quoted(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "app.cli", "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": f"redis://:{REDIS_PASSWORD}/#@x"},
        capture_output=True,
        check=False,
    )
    assert process.returncode in (1, 2)
    assert REDIS_PASSWORD.encode() not in process.stdout + process.stderr
