"""Disconnects nine machines in turn under load, and compares acknowledged with counted lines.

Run it with `python -m tests.guarantees.machines`. Network namespaces act as machines: a cluster of
three primaries and three replicas, two drains, and a fold worker. The sender runs in a tenth one.
It needs root on Linux and the command `ip`, and is not part of CI.

All traffic stays between the namespaces, which are deleted at the end.
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
OUTAGE_S = 6.0
PAUSE_S = 4.0
TIMEOUT_S = 90.0


class LoadResult(NamedTuple):
    """The result of the load."""

    acknowledged_lines: dict[str, int]  # by app
    longest_s: float  # the longest time until a batch was acknowledged


def ip(*words: str) -> None:
    """Run the command `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def address(machine: str) -> str:
    """The IP address of a machine."""
    return f"{NET}.{[CONTROL, *MACHINES].index(machine) + 1}"


@contextmanager
def network() -> Iterator[None]:
    """Create a network namespace for each machine, connected by one switch."""
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


def disconnect(machine: str) -> None:
    """Disconnect a machine from the switch."""
    ip("-n", SWITCH, "link", "set", machine.removeprefix("dm-"), "down")


def reconnect(machine: str) -> None:
    """Reconnect a machine to the switch."""
    ip("-n", SWITCH, "link", "set", machine.removeprefix("dm-"), "up")


class Stage:
    """The processes on the machines: cluster, drains and fold worker."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        for machine in CLUSTER:
            machine_directory = directory / machine
            machine_directory.mkdir()
            self._start(
                machine,
                *("redis-server", "--bind", address(machine), "--port", "6379", "--save", ""),
                *(
                    "--dir",
                    str(machine_directory),
                    "--appendonly",
                    "yes",
                    "--cluster-enabled",
                    "yes",
                ),
                *("--cluster-node-timeout", "1500", "--cluster-require-full-coverage", "no"),
                *("--repl-diskless-sync-delay", "0", "--protected-mode", "no"),
            )
        nodes = [f"{address(machine)}:6379" for machine in CLUSTER]
        wait_until(lambda: all(map(_responds, CLUSTER)), TIMEOUT_S)
        create = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "1"]
        subprocess.run([*create, "--cluster-yes"], check=True, capture_output=True)
        wait_until(self._is_cluster_complete, TIMEOUT_S)
        self._register()
        for machine in DRAINS:
            self._dynometer(machine, "serve", HOST="0.0.0.0", PORT="8080")
        self._dynometer(FOLDER, "fold")
        for machine in DRAINS:
            wait_until(lambda m=machine: _is_ready(m), TIMEOUT_S)  # type: ignore[misc]

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

    def _is_cluster_complete(self) -> bool:
        for machine in CLUSTER:
            with redis.Redis(address(machine)) as client:
                info = client.execute_command("CLUSTER INFO")
                role = client.role()
            if info["cluster_state"] != "ok" or (role[0] == b"slave" and role[3] != b"connected"):
                return False
        return True

    def is_idle(self) -> bool:
        """Whether the spools of the drains are empty and the cluster is complete."""
        for machine in DRAINS:
            body = httpx2.get(f"http://{address(machine)}:8080/readyz", trust_env=False).json()
            idle = body["store"]["status"] == "ok" and not body["spool"]["bytes"]
            if not idle:
                return False
        return self._is_cluster_complete()

    def request_counts(self) -> dict[str, int]:
        """The request counters in /metrics, by app."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        counts = dict.fromkeys(APPS, 0)
        url = f"http://{address(DRAINS[0])}:8080/metrics"
        for line in httpx2.get(url, headers=headers, trust_env=False).text.splitlines():
            if line.startswith("heroku_router_requests_total{"):
                app = line.partition('app="')[2].partition('"')[0]
                counts[app] += int(float(line.rsplit(" ", 1)[1]))
        return counts


def _responds(machine: str) -> bool:
    with redis.Redis(address(machine), socket_timeout=1) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _is_ready(machine: str) -> bool:
    with suppress(httpx2.TransportError):
        url = f"http://{address(machine)}:8080/readyz"
        return httpx2.get(url, trust_env=False, timeout=2).status_code == 200
    return False


async def send(stop: asyncio.Event) -> LoadResult:
    """Send batches to the drains like a load balancer, each until one of them accepts it."""
    acknowledged_lines = dict.fromkeys(APPS, 0)
    longest_s = 0.0
    tasks: set[asyncio.Task[None]] = set()

    async def batch(number: int, client: httpx2.AsyncClient) -> None:
        nonlocal longest_s
        app = APPS[number % len(APPS)]
        body = b"".join(
            router(time.time() - 300, dyno="web.1", status="200", service=f"{service_ms}ms")
            for service_ms in range(LINES)
        )
        login = base64.b64encode(f"{app}:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Logplex-Frame-Id": f"frame-{number}"}
        began_s = time.monotonic()
        for attempt in range(100):
            url = f"http://{address(DRAINS[(number + attempt) % 2])}:8080/drain"
            with suppress(httpx2.TransportError):
                if (await client.post(url, content=body, headers=headers)).status_code == 200:
                    acknowledged_lines[app] += LINES
                    longest_s = max(longest_s, time.monotonic() - began_s)
                    return
            await asyncio.sleep(0.2)
        raise AssertionError(f"batch {number} was not accepted by any drain")

    timeout = httpx2.Timeout(5, connect=1)
    limits = httpx2.Limits(max_connections=500)
    async with httpx2.AsyncClient(trust_env=False, timeout=timeout, limits=limits) as client:
        number = 0
        while not stop.is_set():
            task = asyncio.create_task(batch(number, client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(1 / POSTS_A_SECOND)
        await asyncio.gather(*tasks)
    return LoadResult(acknowledged_lines, longest_s)


async def cut_each_machine(stage: Stage) -> LoadResult:
    """Disconnect each machine for a while, one after the other."""
    stop = asyncio.Event()
    sending = asyncio.create_task(send(stop))
    for machine in MACHINES:
        await asyncio.sleep(PAUSE_S)
        print(f"{machine} is disconnected for {OUTAGE_S:g} s", flush=True)
        disconnect(machine)
        await asyncio.sleep(OUTAGE_S)
        reconnect(machine)
        await asyncio.to_thread(wait_until, stage.is_idle, TIMEOUT_S)
    stop.set()
    return await sending


def run_in_control_namespace() -> int:
    """Run the test on the control machine; 1 if acknowledged and counted lines differ."""
    with TemporaryDirectory(prefix="dynometer-machines-") as name, ExitStack() as stack:
        stage = Stage(Path(name), stack)
        load = asyncio.run(cut_each_machine(stage))
        with suppress(AssertionError):
            wait_until(
                lambda: stage.is_idle() and stage.request_counts() == load.acknowledged_lines,
                TIMEOUT_S,
            )
        counts = stage.request_counts()
        total = sum(load.acknowledged_lines.values())
        print(f"{total:,} lines acknowledged, {sum(counts.values()):,} requests counted")
        print(f"the longest time until a batch was acknowledged: {load.longest_s:.1f} s")
        is_equal = counts == load.acknowledged_lines
        print(
            "acknowledged and counted lines are equal"
            if is_equal
            else f"DIFFERENT: {load.acknowledged_lines} {counts}"
        )
        return 0 if is_equal else 1


def main() -> int:
    """Create the network, and run the test in it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.guarantees.machines", description=__doc__
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().inside:
        return run_in_control_namespace()
    if os.geteuid() or not shutil.which("ip"):
        print("This needs root and the command 'ip' (apt-get install iproute2).", file=sys.stderr)
        return 2
    with network():
        command = [sys.executable, "-m", "tests.guarantees.machines", "--inside"]
        return subprocess.run(["ip", "netns", "exec", CONTROL, *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
