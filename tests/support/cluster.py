"""A Redis Cluster and a primary with sentinels for tests: real servers on loopback, gone when the
tests end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.support.servers import program, wait_until

NODE_TIMEOUT_MS = 1_000
WITHIN_S = 30.0
_MARKER = "marker"


class Node:
    """One server of several, on a port of its own."""

    def __init__(self, directory: Path, *options: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self.frozen = False
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=5)
        self._directory = directory
        self._words: Sequence[str] = (program("redis-server"),)
        if sentinel:
            file = directory / "sentinel.conf"
            lines = [f"port {self.port}", f"dir {directory}", "bind 127.0.0.1", *options]
            file.write_text("\n".join(lines))
            self._words += (str(file), "--sentinel")
        else:
            self._words += ("--port", str(self.port), "--dir", str(directory), "--save", "")
            self._words += ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", *options)
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        wait_until(self._answers, WITHIN_S)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._directory / "log").read_text()
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    @property
    def alive(self) -> bool:
        return self.process.poll() is None and not self.frozen

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """As if it were cut off: it holds its connections, and says nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.frozen = False

    def close(self) -> None:
        self.client.close()
        self.kill()


def free_port() -> int:
    """Whose cluster bus, 10,000 above, is free as well."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if port > 55_000:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


class ClusterOfNodes:
    """So many primaries, each with a replica."""

    def __init__(self, directory: Path, stack: ExitStack, primaries: int = 3) -> None:
        self._directory = directory
        self._stack = stack
        self.nodes = [self.add() for _ in range(2 * primaries)]
        self._cli("create", *(node.address for node in self.nodes), "--cluster-replicas", "1")
        wait_until(lambda: all(map(_whole, self.nodes)), WITHIN_S)
        self.wait_for_replicas()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(node.address for node in self.nodes[:2])

    def add(self) -> Node:
        """A node that belongs to nobody yet."""
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        options: tuple[str, ...] = ("--cluster-enabled", "yes")
        options += ("--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        options += ("--cluster-require-full-coverage", "no")
        # Otherwise a primary that gave its last slot away becomes a replica.
        options += ("--cluster-allow-replica-migration", "no", "--appendonly", "yes")
        node = Node(directory, *options)
        self._stack.callback(node.close)
        return node

    def join(self, node: Node) -> None:
        """Make it a primary without slots."""
        self._cli("add-node", node.address, self.nodes[0].address)
        self.nodes.append(node)
        wait_until(lambda: all(map(_whole, self.nodes)), WITHIN_S)

    def move(self, key: str, target: Node) -> None:
        """Move the hash slot of a key, with what is in it."""
        with self.moving(key, target):
            pass

    @contextmanager
    def moving(self, key: str, target: Node) -> Iterator[None]:
        """The same in steps, as the manual of Redis says: the slot is on its way, and at the end
        what is in it follows.
        """
        slot = key_slot(key.encode())
        source = self.owner(key)
        _said(target, "CLUSTER SETSLOT", slot, "IMPORTING", _id(source))
        _said(source, "CLUSTER SETSLOT", slot, "MIGRATING", _id(target))
        yield
        # Written apart, so that the client leaves the names as they are: ids are no text.
        while keys := _said(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            words = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            _said(source, *words)
        for node in (target, source, *self.primaries()):
            _said(node, "CLUSTER SETSLOT", slot, "NODE", _id(target))

    def _cli(self, *words: str) -> None:
        command = [program("redis-cli"), "--cluster", *words, "--cluster-yes"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.alive and node.client.role()[0] == b"master"]

    def owner(self, key: str) -> Node:
        """The primary that serves a key."""
        slot = key_slot(key.encode())
        asked = next(node for node in self.nodes if node.alive)
        serving = (p[1] for first, last, p, *_ in _slots(asked) if first <= slot <= last)
        port = next(serving)
        return next(node for node in self.nodes if node.port == port)

    def lose(self) -> tuple[str, str]:
        """A primary ends that holds nothing of the service or of alerts, and its replica with it;
        returns an app that lay there, and one that did not.
        """
        held = [self.owner("dm:{!service}:apps"), self.owner("dm:{!alerts}:lease")]
        lost = next(node for node in self.primaries() if node not in held)
        ours = {self.owner(f"dm:{{app-{n}}}:inbox"): f"app-{n}" for n in range(20)}
        ports = {int(port) for _, port, _ in lost.client.role()[2]}
        for node in self.nodes:
            if node is lost or node.port in ports:
                node.kill()
        return ours[lost], ours[held[0]]

    def wait_for_replicas(self) -> None:
        """A replica whose link is up may still hold nothing, so each must show a marker."""
        wait_until(lambda: all(_whole(node) for node in self.nodes if node.alive), WITHIN_S)
        for node in self.primaries():
            slots = {first: primary[1] for first, _, primary, *_ in _slots(node)}
            own = next(first for first, port in slots.items() if port == node.port)
            key = next(key for n in count() if key_slot((key := f"{_MARKER}{n}").encode()) == own)
            node.client.set(key, "here")
            for _, port, _ in node.client.role()[2]:
                replica = next(each for each in self.nodes if each.port == int(port))
                wait_until(lambda r=replica, k=key: _has(r, k), WITHIN_S)  # type: ignore[misc]

    def empty(self) -> None:
        for node in self.primaries():
            node.client.flushall()


def _said(node: Node, *words: Any) -> Any:
    return node.client.execute_command(*words)  # type: ignore[no-untyped-call]


def _slots(node: Node) -> list[Any]:
    return list(_said(node, "CLUSTER SLOTS"))


def _has(node: Node, key: str) -> bool:
    with redis.Redis(port=node.port) as client:
        client.execute_command("READONLY")
        try:
            return client.get(key) is not None
        except redis.ResponseError:  # it does not know yet who serves it
            return False


def _whole(node: Node) -> bool:
    return bool(_said(node, "CLUSTER INFO")["cluster_state"] == "ok")


def _id(node: Node) -> str:
    said = _said(node, "CLUSTER MYID")
    return said.decode() if isinstance(said, bytes) else str(said)


@contextmanager
def running_cluster(primaries: int = 3) -> Iterator[ClusterOfNodes]:
    with (
        tempfile.TemporaryDirectory(prefix="dynometer-") as directory,
        ExitStack() as stack,
    ):
        yield ClusterOfNodes(Path(directory), stack, primaries)


class Watched:
    """A primary with a replica, and three sentinels that watch them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        def node(*options: str, sentinel: bool = False) -> Node:
            own = Path(tempfile.mkdtemp(dir=directory))
            started = Node(own, *options, sentinel=sentinel)
            stack.callback(started.close)
            return started

        self.primary = node()
        self.replica = node("--replicaof", "127.0.0.1", str(self.primary.port))
        self.primary.client.set(_MARKER, "here")
        wait_until(lambda: self.replica.client.get(_MARKER) is not None, WITHIN_S)
        watch = (
            f"sentinel monitor dynometer 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds dynometer {NODE_TIMEOUT_MS}",
            "sentinel failover-timeout dynometer 5000",
        )
        self.sentinels = [node(*watch, sentinel=True) for _ in range(3)]
        wait_until(lambda: all(map(_knows_all, self.sentinels)), WITHIN_S)

    @property
    def url(self) -> str:
        hosts = ",".join(each.address for each in self.sentinels)
        return f"redis+sentinel://{hosts}/dynometer"

    def empty(self) -> None:
        self.primary.client.flushall()


def _knows_all(sentinel: Node) -> bool:
    known = sentinel.client.sentinel_master("dynometer")
    assert isinstance(known, dict)
    return bool(known["num-slaves"] == 1 and known["num-other-sentinels"] == 2)


@contextmanager
def running_sentinels() -> Iterator[Watched]:
    with (
        tempfile.TemporaryDirectory(prefix="dynometer-") as directory,
        ExitStack() as stack,
    ):
        yield Watched(Path(directory), stack)
