"""The map from hash slots to the nodes of a cluster, read from the nodes themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from random import sample
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError

from app.storage.redis.urls import Host

SLOTS = 16_384
NODES_QUERIED_MAX = 8  # the answer with the newest epoch wins
QUERY_TIMEOUT_S = 0.5
REFRESH_INTERVAL_S = 0.1  # at least this long between two queries

QueryNode = Callable[[Host], Awaitable[list[Any]]]
"""Sends MAP_COMMANDS to a node and returns its answers."""
MAP_COMMANDS = (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))


def hash_slot(key: str | bytes) -> int:
    """The hash slot of a key, or of its hash tag (the part between braces) if it has one."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


class SlotMap:
    """The last known map.

    A node that was cut off or has just come back may answer with an outdated map. Therefore several
    nodes are queried, and the answer with the newest epoch wins.

    Attributes:
        primaries: the nodes that serve slots.
        nodes: primaries and replicas; until the map is loaded, the seeds.
    """

    def __init__(self, seeds: Sequence[Host], query: QueryNode) -> None:
        """`seeds`: nodes of the cluster; one of them must respond for the map to load."""
        self._seeds = tuple(seeds)
        self._query = query
        self._epoch = -1
        self._owners: list[Host | None] = [None] * SLOTS
        self._refresh_task: asyncio.Task[None] | None = None
        self._last_refresh_s = float("-inf")
        self.primaries: frozenset[Host] = frozenset()
        self.nodes: frozenset[Host] = frozenset(seeds)

    def owner(self, key: str | bytes) -> Host:
        """The primary that serves a key.

        Raises:
            ClusterDownError: no node is known to serve it.
        """
        host = self._owners[hash_slot(key)]
        if host is None:
            raise ClusterDownError("no node is known to serve these keys")
        return host

    @property
    def unassigned_slots(self) -> int:
        """The number of hash slots that no node serves."""
        return self._owners.count(None)

    @property
    def is_loaded(self) -> bool:
        """Whether any node has answered so far."""
        return self._epoch >= 0

    async def refresh(self) -> None:
        """Query the nodes again. The map stays as it is if none of them responds.

        Concurrent callers share one query. A caller that is cancelled does not cancel it.
        """
        await asyncio.shield(self.start_refresh())

    def start_refresh(self) -> asyncio.Task[None]:
        """Start a refresh in the background unless one is running; returns its task."""
        if self._refresh_task is None or self._refresh_task.done():
            self._refresh_task = asyncio.create_task(self._refresh(), name="cluster map")
        return self._refresh_task

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._last_refresh_s + REFRESH_INTERVAL_S - loop.time())
        self._last_refresh_s = loop.time()
        candidates = self.nodes.difference(self._seeds)
        hosts = [*self._seeds, *sample(list(candidates), min(NODES_QUERIED_MAX, len(candidates)))]
        answers = await asyncio.gather(*map(self._query_map, hosts))
        for host, answer in zip(hosts, answers, strict=True):
            if answer is not None:
                self._update(host, *answer)

    async def _query_map(self, host: Host) -> tuple[int, Any] | None:
        """(epoch, answer to CLUSTER SLOTS) of a node; None if it does not respond."""
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                info, slots = await self._query(host)
        except (RedisError, OSError, TimeoutError):
            return None
        if isinstance(info, Exception) or isinstance(slots, Exception):
            return None
        fields = _parse_info(info)
        return int(fields.get("cluster_current_epoch", 0)), slots

    def _update(self, source: Host, epoch: int, ranges: Any) -> None:
        """Take over a node's map unless it is older. The format is that of CLUSTER SLOTS."""
        if epoch < self._epoch or not ranges:
            return
        self._epoch = epoch
        owners: list[Host | None] = [None] * SLOTS
        nodes = set()
        for first, last, *servers in ranges:
            hosts = [_host(server, source) for server in servers]
            nodes.update(hosts)
            owners[first : last + 1] = [hosts[0]] * (last + 1 - first)
        self._owners = owners
        self.primaries = frozenset(owner for owner in owners if owner is not None)
        self.nodes = frozenset(nodes)

    def close(self) -> Collection[asyncio.Task[None]]:
        """Cancel a running refresh; returns the tasks to await."""
        if self._refresh_task is None:
            return ()
        self._refresh_task.cancel()
        return (self._refresh_task,)


def _host(node: Sequence[Any], source: Host) -> Host:
    """The address of a node. A node that does not know its own name describes itself."""
    name = (node[0] or b"").decode()
    return Host(name if name not in ("", "?") else source.name, int(node[1]))


def _parse_info(info: bytes | str) -> Mapping[str, str]:
    text = info.decode() if isinstance(info, bytes) else info
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
