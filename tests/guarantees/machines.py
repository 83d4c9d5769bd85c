"""`python -m tests.guarantees.machines`: nine machines, each lost in turn while lines come in, and
the books compared. Network namespaces stand for machines: a cluster of three primaries and three
replicas, two drains, and a folder; on one more is whoever sends. Needs root on Linux, and `ip`; not
part of CI.

All traffic stays between the namespaces, which are gone afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx2
import redis

from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from tests.support.lines import router
from tests.support.processes import ROOT
from tests.support.servers import wait_until

NET = "10.77.0"
SWITCH = "dm-switch"
CONTROL = "dm-control"
CLUSTER = [f"dm-redis{number}" for number in range(1, 7)]
DRAINS = ["dm-drain1", "dm-drain2"]
FOLDER = "dm-folder"
MACHINES = [*CLUSTER, *DRAINS, FOLDER]
TOKEN = "t" * 32
SECRET = "secret"
APPS = [f"app-{number}" for number in range(6)]
LINES = 10
POSTS_A_SECOND = 100
LOST_S = 6.0
BETWEEN_S = 4.0
WITHIN_S = 90.0


class Sent(NamedTuple):
    """What became of the load."""

    acknowledged: dict[str, int]  # lines, by app
    longest_s: float  # that a batch took until it was acknowledged


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def address(machine: str) -> str:
    """Of a machine."""
    return f"{NET}.{[CONTROL, *MACHINES].index(machine) + 1}"


@contextmanager
def wired() -> Iterator[None]:
    """The machines, on one switch."""
    try:
        ip("netns", "add", SWITCH)
        ip("-n", SWITCH, "link", "add", "switch", "type", "bridge")
        ip("-n", SWITCH, "link", "set", "switch", "up")
        for machine in (CONTROL, *MACHINES):
            port = machine.removeprefix("dm-")
            ip("netns", "add", machine)
            ip("-n", SWITCH, "link", "add", port, "type", "veth", "peer", "eth0", "netns", machine)
            ip("-n", SWITCH, "link", "set", port, "master", "switch", "up")
            ip("-n", machine, "address", "add", f"{address(machine)}/24", "dev", "eth0")
            ip("-n", machine, "link", "set", "eth0", "up")
            ip("-n", machine, "link", "set", "lo", "up")
        yield
    finally:
        for machine in (*MACHINES, CONTROL, SWITCH):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", machine)


def cut(machine: str) -> None:
    """Pull its plug."""
    ip("-n", SWITCH, "link", "set", machine.removeprefix("dm-"), "down")


def mend(machine: str) -> None:
    """Put it in again."""
    ip("-n", SWITCH, "link", "set", machine.removeprefix("dm-"), "up")


class Stage:
    """What runs on the machines."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        for machine in CLUSTER:
            own = directory / machine
            own.mkdir()
            self._start(
                machine,
                *("redis-server", "--bind", address(machine), "--port", "6379", "--save", ""),
                *("--dir", str(own), "--appendonly", "yes", "--cluster-enabled", "yes"),
                *("--cluster-node-timeout", "1500", "--cluster-require-full-coverage", "no"),
                *("--repl-diskless-sync-delay", "0", "--protected-mode", "no"),
            )
        nodes = [f"{address(machine)}:6379" for machine in CLUSTER]
        wait_until(lambda: all(map(_answers, CLUSTER)), WITHIN_S)
        create = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "1"]
        subprocess.run([*create, "--cluster-yes"], check=True, capture_output=True)
        wait_until(self._whole, WITHIN_S)
        self._register()
        for machine in DRAINS:
            self._dynometer(machine, "serve", HOST="0.0.0.0", PORT="8080")
        self._dynometer(FOLDER, "fold")
        for machine in DRAINS:
            wait_until(lambda m=machine: _ready(m), WITHIN_S)  # type: ignore[misc]

    def _start(self, machine: str, *words: str, **environ: str) -> None:
        with (self._directory / f"{machine}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", machine, *words],
                env={**os.environ, **environ},
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def _dynometer(self, machine: str, command: str, **environ: str) -> None:
        self._start(
            machine,
            *(sys.executable, "-m", "app.cli", command),
            PYTHONPATH=str(ROOT),
            REDIS_URL="redis+cluster://" + ",".join(map(address, CLUSTER)),
            DYNOMETER_REDIS_REPLICAS="1",
            DYNOMETER_ADMIN_TOKEN=TOKEN,
            DYNOMETER_DATA_DIR=str(self._directory / machine),
            **environ,
        )

    def _register(self) -> None:
        record = encode(DrainRecord([Secret(hash_secret(SECRET), 1)]))
        key = "dm:{!service}:drains"
        with redis.RedisCluster(address(CLUSTER[0])) as client:
            for app in APPS:
                client.hset(key, app, record)

    def _whole(self) -> bool:
        for machine in CLUSTER:
            with redis.Redis(address(machine)) as client:
                info = client.execute_command("CLUSTER INFO")
                role = client.role()
            if info["cluster_state"] != "ok" or (role[0] == b"slave" and role[3] != b"connected"):
                return False
        return True

    def settled(self) -> bool:
        """Whether nothing waits on a drain's disk or in an inbox."""
        for machine in DRAINS:
            body = httpx2.get(f"http://{address(machine)}:8080/readyz", trust_env=False).json()
            idle = body["store"]["status"] == "ok" and not body["spool"]["bytes"]
            if not idle:
                return False
        return self._whole()

    def counted(self) -> dict[str, int]:
        """Requests that the service tells, by app."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        found = dict.fromkeys(APPS, 0)
        url = f"http://{address(DRAINS[0])}:8080/metrics"
        for line in httpx2.get(url, headers=headers, trust_env=False).text.splitlines():
            if line.startswith("heroku_router_requests_total{"):
                app = line.partition('app="')[2].partition('"')[0]
                found[app] += int(float(line.rsplit(" ", 1)[1]))
        return found


def _answers(machine: str) -> bool:
    with redis.Redis(address(machine), socket_timeout=1) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _ready(machine: str) -> bool:
    with suppress(httpx2.TransportError):
        url = f"http://{address(machine)}:8080/readyz"
        return httpx2.get(url, trust_env=False, timeout=2).status_code == 200
    return False


async def send(ended: asyncio.Event) -> Sent:
    """Batches to either drain, each until one of them takes it, as a balancer would send them."""
    acknowledged = dict.fromkeys(APPS, 0)
    longest_s = 0.0
    under_way: set[asyncio.Task[None]] = set()

    async def batch(number: int, client: httpx2.AsyncClient) -> None:
        nonlocal longest_s
        app = APPS[number % len(APPS)]
        body = b"".join(
            router(time.time() - 300, dyno="web.1", status="200", service=f"{each}ms")
            for each in range(LINES)
        )
        login = base64.b64encode(f"{app}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Logplex-Frame-Id": f"frame-{number}"}
        began_s = time.monotonic()
        for attempt in range(100):
            url = f"http://{address(DRAINS[(number + attempt) % 2])}:8080/drain"
            with suppress(httpx2.TransportError):
                if (await client.post(url, content=body, headers=headers)).status_code == 200:
                    acknowledged[app] += LINES
                    longest_s = max(longest_s, time.monotonic() - began_s)
                    return
            await asyncio.sleep(0.2)
        raise AssertionError(f"batch {number} was taken by nobody")

    timeout = httpx2.Timeout(5, connect=1)
    limits = httpx2.Limits(max_connections=500)
    async with httpx2.AsyncClient(trust_env=False, timeout=timeout, limits=limits) as client:
        number = 0
        while not ended.is_set():
            task = asyncio.create_task(batch(number, client))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
            await asyncio.sleep(1 / POSTS_A_SECOND)
        await asyncio.gather(*under_way)
    return Sent(acknowledged, longest_s)


async def lose_each(stage: Stage) -> Sent:
    """Lose each machine for a while, one after the other."""
    ended = asyncio.Event()
    sending = asyncio.create_task(send(ended))
    for machine in MACHINES:
        await asyncio.sleep(BETWEEN_S)
        print(f"{machine} is lost for {LOST_S:g} s", flush=True)
        cut(machine)
        await asyncio.sleep(LOST_S)
        mend(machine)
        await asyncio.to_thread(wait_until, stage.settled, WITHIN_S)
    ended.set()
    return await sending


def inside() -> int:
    """On the control machine; 1 when the books do not balance."""
    with TemporaryDirectory(prefix="dynometer-machines-") as name, ExitStack() as stack:
        stage = Stage(Path(name), stack)
        sent = asyncio.run(lose_each(stage))
        with suppress(AssertionError):
            wait_until(lambda: stage.settled() and stage.counted() == sent.acknowledged, WITHIN_S)
        counted = stage.counted()
        total = sum(sent.acknowledged.values())
        print(f"{total:,} lines acknowledged, {sum(counted.values()):,} requests counted")
        print(f"the longest that a batch waited for a drain: {sent.longest_s:.1f} s")
        same = counted == sent.acknowledged
        print("the books balance" if same else f"NOT: {sent.acknowledged} {counted}")
        return 0 if same else 1


def main() -> int:
    """Wire the machines, and play on them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.guarantees.machines", description=__doc__
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().inside:
        return inside()
    if os.geteuid() or not shutil.which("ip"):
        print("This needs root and the command 'ip' (apt-get install iproute2).", file=sys.stderr)
        return 2
    with wired():
        command = [sys.executable, "-m", "tests.guarantees.machines", "--inside"]
        return subprocess.run(["ip", "netns", "exec", CONTROL, *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
