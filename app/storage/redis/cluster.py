"""The store on a Redis Cluster. Each app's keys lie together on one primary (see redis.py), and so
do those of the service; each primary is asked over a connection of its own, all at once.

What a node refuses because the keys are elsewhere, or on their way, it has not done: that is asked
again, where the cluster now says. What may have been done is left to the caller, as always.

While a slot is on its way to another node, scripts on an app whose keys are not all on one of the
two are refused by both (TRYAGAIN): there is nothing to be had by following ASK, only by waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from app.storage.interface import StoreError, StoreUnavailable
from app.storage.redis.commands import Ask, Call, fields_of
from app.storage.redis.keys import inbox_key
from app.storage.redis.single import SingleRedis, pool_to
from app.storage.redis.slot_map import QUESTIONS, SlotMap
from app.storage.redis.store import RedisStore
from app.storage.redis.urls import Host, Hosts

PORT = 6379
_FORM = "redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379"
_PREFIX = "dm:{!service}:"  # no name of an app
_SPREADS = f"{_PREFIX}spreads"
ANSWERS_WITHIN_S = 0.5
_ELSEWHERE = (MovedError, AskError, TryAgainError, ClusterDownError, ReadOnlyError)
REPEAT_WITHIN_S = 1.0
REPEAT_AFTER_S = 0.02
LOAD_WITHIN_S = 0.5
_ALL_OR_NOTHING = "cluster-require-full-coverage"


def connect(url: str, connections_max: int, replicas: int) -> ClusterStore:
    """See engine.connect."""
    where = Hosts(url, PORT, _FORM)
    if where.path not in ("", "0"):
        raise StoreError("REDIS_URL names a database: a cluster has only database 0")

    def node_at(host: Host) -> SingleRedis:
        return SingleRedis(pool_to(where.url_of(host), connections_max), replicas)

    try:
        pool_to(where.url_of(where.hosts[0]), connections_max)
    except ValueError:  # its text may quote a part of the password
        raise StoreError(f"REDIS_URL cannot be read: it must be {_FORM}") from None
    return ClusterStore(ClusterTopology(where.hosts, node_at))


class ClusterStore(RedisStore):
    """See port.Store. Apps whose part of the cluster is away are left out where others can go on
    without them: they are folded later, and readers of all apps are told.
    """

    def __init__(self, cluster: ClusterTopology) -> None:
        super().__init__(cluster, _PREFIX)
        self._cluster = cluster

    def shard_of(self, app: str) -> Host | None:
        """The primary that holds an app; None when that is not known."""
        return self._cluster.shard_of(inbox_key(app))

    def shards(self) -> frozenset[Host]:
        """All of them."""
        return self._cluster.map.primaries

    async def refuse_unsupported_data(self) -> None:
        """
        Raises:
            StoreError: apps were split over several primaries by an earlier version.
            StoreUnavailable: this could not be read now.
        """
        names = sorted(name.decode() for name in fields_of(await self._ask("HGETALL", _SPREADS)))
        if names:
            raise StoreError(
                f"the store holds apps that 'dynometer spread' split into parts "
                f"({', '.join(names)}), which this version cannot read. Run the version "
                "that wrote them until their data has expired, or give the parts up: "
                f"redis-cli -c HDEL '{_SPREADS}' {' '.join(names)}"
            )

    async def reachable(self, apps: Sequence[str]) -> list[str]:
        answering = await self._cluster.answering()
        return [app for app in apps if self.shard_of(app) in answering]

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        refusals: list[StoreUnavailable] = []
        for some in await self._by_shard(apps):
            try:
                found |= await super().read_inboxes(some, count)
            except StoreUnavailable as refusal:
                refusals.append(refusal)
        if refusals and not found:
            raise refusals[0]
        return found

    async def _by_shard(self, apps: Sequence[str]) -> list[list[str]]:
        """Apps that lie together."""
        await self._cluster.seen()
        groups: dict[Host | None, list[str]] = {}
        for app in apps:
            groups.setdefault(self.shard_of(app), []).append(app)
        return list(groups.values())


class ClusterTopology:
    """See redis_call.Server."""

    apps_per_script = 1  # whose keys lie together

    def __init__(self, seeds: Sequence[Host], node_at: Callable[[Host], SingleRedis]) -> None:
        self._node_at = node_at
        self._nodes: dict[Host, SingleRedis] = {}
        self.map = SlotMap(seeds, lambda host: self._node(host).ask(QUESTIONS))

    def shard_of(self, key: str) -> Host | None:
        """The node that serves a key, as far as that is known."""
        try:
            return self.map.owner(key)
        except ClusterDownError:
            return None

    async def seen(self) -> None:
        """Returns when it was tried to see the cluster."""
        if not self.map.known:
            await self.map.look()

    async def answering(self) -> set[Host | None]:
        """The primaries that answer now."""
        await self.seen()
        hosts = list(self.map.primaries)
        answers = await asyncio.gather(*map(self._answers, hosts))
        return {host for host, answers in zip(hosts, answers, strict=True) if answers}

    async def _answers(self, host: Host) -> bool:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                (answer,) = await self._node(host).ask([("PING",)])
        except (RedisError, OSError, TimeoutError):
            self.map.look_soon()
            return False
        return not isinstance(answer, Exception)

    async def ask(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """See redis_call.Server."""
        return await self._ask_each(calls, lambda node: node.ask, before)

    async def commit(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """See redis_call.Server."""
        return await self._ask_each(calls, lambda node: node.commit, before)

    async def _ask_each(
        self, calls: Sequence[Call], way: Callable[[SingleRedis], Ask], before: Call
    ) -> list[Any]:
        """Each call goes to the node that has its key; again, while the cluster says that it must
        go elsewhere.
        """
        await self.seen()
        until = asyncio.get_running_loop().time() + REPEAT_WITHIN_S
        answers: list[Any] = [None] * len(calls)
        left: Sequence[int] = range(len(calls))
        while True:
            await asyncio.gather(
                *(
                    self._ask_one(way(self._node(host)), calls, positions, before, answers)
                    for host, positions in self._by_node(calls, left, answers).items()
                )
            )
            left = [i for i in left if isinstance(answers[i], _ELSEWHERE)]
            if not left or asyncio.get_running_loop().time() >= until:
                return answers
            await asyncio.sleep(REPEAT_AFTER_S)
            await self.map.look()

    def _by_node(
        self, calls: Sequence[Call], positions: Sequence[int], answers: list[Any]
    ) -> Mapping[Host, list[int]]:
        groups: dict[Host, list[int]] = {}
        for i in positions:
            try:
                groups.setdefault(self.map.owner(calls[i][1]), []).append(i)
            except ClusterDownError as error:
                answers[i] = error
        return groups

    async def _ask_one(
        self,
        ask: Ask,
        calls: Sequence[Call],
        positions: Sequence[int],
        before: Call,
        answers: list[Any],
    ) -> None:
        """What one node answers, or why it does not, is put in its places."""
        try:
            found = await ask([calls[i] for i in positions], before)
        except (RedisError, OSError, TimeoutError) as error:
            self.map.look_soon()
            found = [error] * len(positions)
        for i, answer in zip(positions, found, strict=True):
            answers[i] = answer

    def _node(self, host: Host) -> SingleRedis:
        node = self._nodes.get(host)
        if node is None:
            node = self._nodes[host] = self._node_at(host)
        return node

    async def load(self, script: str) -> None:
        """See redis_call.Server. Whoever is away learns it when it is asked."""
        loading = [
            asyncio.create_task(self._node(host).load(script), name="load script")
            for host in self.map.primaries
        ]
        _, late = await asyncio.wait(loading, timeout=LOAD_WITHIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)

    async def infos(self) -> list[Mapping[str, Any]]:
        """See redis_call.Server."""
        await self.seen()
        if not self.map.primaries:
            raise ClusterDownError("none of the nodes of REDIS_URL answers as one of a cluster")
        return [
            info for host in sorted(self.map.primaries) for info in await self._node(host).infos()
        ]

    async def settings(self, *names: str) -> dict[str, str]:
        """See redis_call.Server: of one that answers."""
        for host in sorted(self.map.primaries):
            with suppress(RedisError, OSError, TimeoutError):
                return await self._node(host).settings(*names)
        return {}

    async def problems(self) -> list[str]:
        """See redis_call.Server."""
        await self.map.look()
        found = []
        if self.map.known and self.map.uncovered:
            found.append(
                f"{self.map.uncovered} of the cluster's hash slots are served by nobody: see "
                "'redis-cli --cluster check HOST:PORT'"
            )
        for host in sorted(self.map.primaries):
            found += await self._problems_of(host)
        return found

    async def _problems_of(self, host: Host) -> list[str]:
        node = self._node(host)
        try:
            info, nodes = await node.ask([("INFO", "replication"), ("CLUSTER", "NODES")])
            found = await node.problems()
            settings = await node.settings(_ALL_OR_NOTHING)
        except (RedisError, OSError, TimeoutError) as error:
            return [f"the cluster's primary {host} does not answer ({error}): start it"]
        if settings.get(_ALL_OR_NOTHING) == "yes":
            found.append(
                f"{_ALL_OR_NOTHING} of {host} is yes: while one primary is away it refuses all; "
                f"set it to no on each node ('redis-cli CONFIG SET {_ALL_OR_NOTHING} no')"
            )
        if isinstance(info, bytes) and b"connected_slaves:0" in info:
            found.append(
                f"the cluster's primary {host} has no replica: should it fail, its apps wait for it"
            )
        myself = next((line for line in bytes(nodes or b"").splitlines() if b"myself" in line), b"")
        if b"[" in myself.partition(b"connected")[2]:
            found.append(
                f"hash slots of {host} are on their way to another node, and their apps wait: end "
                "that with 'redis-cli --cluster fix HOST:PORT'"
            )
        return found

    async def close(self) -> None:
        """See redis_call.Server."""
        await asyncio.gather(*self.map.close(), return_exceptions=True)
        for node in self._nodes.values():
            await node.close()
