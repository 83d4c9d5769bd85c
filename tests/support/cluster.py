"""A Redis Cluster and a primary with sentinels for tests.

They are real servers on loopback that are stopped when the tests end.
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

from tests.support.servers import find_program, wait_until

NODE_TIMEOUT_MS = 1_000
TIMEOUT_S = 30.0
_MARKER = "marker"


class Node:
    """One server of a cluster or sentinel setup, on its own port."""

    def __init__(self, directory: Path, *options: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self.is_frozen = False
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=5)
        self._directory = directory
        self._command: Sequence[str] = (find_program("redis-server"),)
        if sentinel:
            file = directory / "sentinel.conf"
            lines = [f"port {self.port}", f"dir {directory}", "bind 127.0.0.1", *options]
            file.write_text("\n".join(lines))
            self._command += (str(file), "--sentinel")
        else:
            self._command += ("--port", str(self.port), "--dir", str(directory), "--save", "")
            self._command += ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", *options)
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        wait_until(self._responds, TIMEOUT_S)

    def _responds(self) -> bool:
        assert self.process.poll() is None, (self._directory / "log").read_text()
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None and not self.is_frozen

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Simulate a network failure: connections stay open, nothing is answered."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.is_frozen = False

    def close(self) -> None:
        self.client.close()
        self.kill()


def free_port() -> int:
    """A free port whose cluster bus port, 10,000 above, is free as well."""
    while True:
        with socket.socket() as client_socket, socket.socket() as bus_socket:
            client_socket.bind(("127.0.0.1", 0))
            port: int = client_socket.getsockname()[1]
            if port > 55_000:
                continue
            try:
                bus_socket.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


class RedisCluster:
    """A cluster of primaries with one replica each."""

    def __init__(self, directory: Path, stack: ExitStack, primaries: int = 3) -> None:
        self._directory = directory
        self._stack = stack
        self.nodes = [self.add() for _ in range(2 * primaries)]
        self._cli("create", *(node.address for node in self.nodes), "--cluster-replicas", "1")
        wait_until(lambda: all(map(_is_complete, self.nodes)), TIMEOUT_S)
        self.wait_for_replicas()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(node.address for node in self.nodes[:2])

    def add(self) -> Node:
        """Start a node that belongs to no cluster yet."""
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        options: tuple[str, ...] = ("--cluster-enabled", "yes")
        options += ("--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        options += ("--cluster-require-full-coverage", "no")
        # Otherwise a primary that gives its last slot away becomes a replica.
        options += ("--cluster-allow-replica-migration", "no", "--appendonly", "yes")
        options += ("--aof-load-truncated", "no")
        node = Node(directory, *options)
        self._stack.callback(node.close)
        return node

    def join(self, node: Node) -> None:
        """Add a node to the cluster as a primary without slots."""
        self._cli("add-node", node.address, self.nodes[0].address)
        self.nodes.append(node)
        wait_until(lambda: all(map(_is_complete, self.nodes)), TIMEOUT_S)

    def move(self, key: str, target: Node) -> None:
        """Move the hash slot of a key, with its keys, to another primary."""
        with self.moving(key, target):
            pass

    @contextmanager
    def moving(self, key: str, target: Node) -> Iterator[None]:
        """Move the hash slot of a key in steps, as the Redis manual describes.

        Inside the context the slot is being moved; its keys are migrated at the end.
        """
        slot = key_slot(key.encode())
        source = self.owner(key)
        _execute(target, "CLUSTER SETSLOT", slot, "IMPORTING", _id(source))
        _execute(source, "CLUSTER SETSLOT", slot, "MIGRATING", _id(target))
        yield
        # As separate words, so that the client does not decode the names: ids are not text.
        while keys := _execute(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            words = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            _execute(source, *words)
        for node in (target, source, *self.primaries()):
            _execute(node, "CLUSTER SETSLOT", slot, "NODE", _id(target))

    def _cli(self, *words: str) -> None:
        command = [find_program("redis-cli"), "--cluster", *words, "--cluster-yes"]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout + process.stderr

    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.is_alive and node.client.role()[0] == b"master"]

    def owner(self, key: str) -> Node:
        """The primary that serves a key, as a live node reports."""
        slot = key_slot(key.encode())
        node = next(node for node in self.nodes if node.is_alive)
        ports = (p[1] for first, last, p, *_ in _slots(node) if first <= slot <= last)
        port = next(ports)
        return next(node for node in self.nodes if node.port == port)

    def kill_shard(self) -> tuple[str, str]:
        """Kill a primary and its replica, but not one with the keys of the service or of alerts.

        Returns:
            An app on the dead shard, and one on another shard.
        """
        service_nodes = [self.owner("dm:{!service}:apps"), self.owner("dm:{!alerts}:lease")]
        dead_node = next(node for node in self.primaries() if node not in service_nodes)
        apps = {self.owner(f"dm:{{app-{n}}}:inbox"): f"app-{n}" for n in range(20)}
        ports = {int(port) for _, port, _ in dead_node.client.role()[2]}
        for node in self.nodes:
            if node is dead_node or node.port in ports:
                node.kill()
        return apps[dead_node], apps[service_nodes[0]]

    def wait_for_replicas(self) -> None:
        """Wait until each replica has its primary's data.

        A replica whose link is up may still be empty, so each must return a marker.
        """
        wait_until(
            lambda: all(_is_complete(node) for node in self.nodes if node.is_alive), TIMEOUT_S
        )
        for node in self.primaries():
            slots = {first: primary[1] for first, _, primary, *_ in _slots(node)}
            first_slot = next(first for first, port in slots.items() if port == node.port)
            key = next(
                key for n in count() if key_slot((key := f"{_MARKER}{n}").encode()) == first_slot
            )
            node.client.set(key, "here")
            for _, port, _ in node.client.role()[2]:
                replica = next(node for node in self.nodes if node.port == int(port))
                wait_until(lambda r=replica, k=key: _has_key(r, k), TIMEOUT_S)  # type: ignore[misc]

    def empty(self) -> None:
        for node in self.primaries():
            node.client.flushall()


def _execute(node: Node, *words: Any) -> Any:
    return node.client.execute_command(*words)  # type: ignore[no-untyped-call]


def _slots(node: Node) -> list[Any]:
    return list(_execute(node, "CLUSTER SLOTS"))


def _has_key(node: Node, key: str) -> bool:
    with redis.Redis(port=node.port) as client:
        client.execute_command("READONLY")
        try:
            return client.get(key) is not None
        except redis.ResponseError:  # it does not know yet which node serves the key
            return False


def _is_complete(node: Node) -> bool:
    return bool(_execute(node, "CLUSTER INFO")["cluster_state"] == "ok")


def _id(node: Node) -> str:
    answer = _execute(node, "CLUSTER MYID")
    return answer.decode() if isinstance(answer, bytes) else str(answer)


@contextmanager
def running_cluster(primaries: int = 3) -> Iterator[RedisCluster]:
    with (
        tempfile.TemporaryDirectory(prefix="dynometer-") as directory,
        ExitStack() as stack,
    ):
        yield RedisCluster(Path(directory), stack, primaries)


class SentinelSetup:
    """A primary with a replica, and three sentinels that monitor them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        def node(*options: str, sentinel: bool = False) -> Node:
            node_directory = Path(tempfile.mkdtemp(dir=directory))
            server = Node(node_directory, *options, sentinel=sentinel)
            stack.callback(server.close)
            return server

        self.primary = node()
        self.replica = node("--replicaof", "127.0.0.1", str(self.primary.port))
        self.primary.client.set(_MARKER, "here")
        wait_until(lambda: self.replica.client.get(_MARKER) is not None, TIMEOUT_S)
        options = (
            f"sentinel monitor dynometer 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds dynometer {NODE_TIMEOUT_MS}",
            "sentinel failover-timeout dynometer 5000",
        )
        self.sentinels = [node(*options, sentinel=True) for _ in range(3)]
        wait_until(lambda: all(map(_sees_all, self.sentinels)), TIMEOUT_S)

    @property
    def url(self) -> str:
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/dynometer"

    def empty(self) -> None:
        self.primary.client.flushall()


def _sees_all(sentinel: Node) -> bool:
    state = sentinel.client.sentinel_master("dynometer")
    assert isinstance(state, dict)
    return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)


@contextmanager
def running_sentinels() -> Iterator[SentinelSetup]:
    with (
        tempfile.TemporaryDirectory(prefix="dynometer-") as directory,
        ExitStack() as stack,
    ):
        yield SentinelSetup(Path(directory), stack)
