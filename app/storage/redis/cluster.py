"""The store on a Redis Cluster.

The keys of one app share a hash tag and so lie on one primary (app.storage.redis.store), as do the
keys of the service. Each primary has its own connection, and all are used concurrently.

A node that rejects a call because the keys lie on another node, or are being moved there, has not
executed it. Such calls are repeated after refreshing the slot map. Calls that may have been
executed are left to the caller, as with a single Redis.

While a slot is moved to another node, both nodes reject scripts whose keys are not all on one of
them (TRYAGAIN). Following an ASK redirection does not help then; only waiting does.
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

from app.storage.interface.errors import StoreError, StoreUnavailable
from app.storage.redis.commands import Call, Send
from app.storage.redis.keys import inbox_key
from app.storage.redis.single import SingleRedis, create_pool
from app.storage.redis.slot_map import MAP_COMMANDS, SlotMap
from app.storage.redis.store import RedisStore
from app.storage.redis.urls import Host, MultiHostUrl

PORT = 6379
_URL_FORM = "redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379"
_PREFIX = "dm:{!service}:"  # ! cannot occur in the name of an app
_SPREADS_KEY = f"{_PREFIX}spreads"
PING_TIMEOUT_S = 0.5
# Errors with which a node says that it did not execute the call.
_NOT_EXECUTED = (MovedError, AskError, TryAgainError, ClusterDownError, ReadOnlyError)
RETRY_TIMEOUT_S = 1.0
RETRY_DELAY_S = 0.02
SCRIPT_LOAD_TIMEOUT_S = 0.5
_FULL_COVERAGE = "cluster-require-full-coverage"


def connect(url: str, connections_max: int, replicas: int) -> ClusterStore:
    """Open the store at a redis+cluster:// or rediss+cluster:// URL."""
    address = MultiHostUrl(url, PORT, _URL_FORM)
    if address.path not in ("", "0"):
        raise StoreError(
            "REDIS_URL names a database, but a cluster has only database 0. Remove it."
        )

    def node_at(host: Host) -> SingleRedis:
        return SingleRedis(create_pool(address.url_of(host), connections_max), replicas)

    try:
        create_pool(address.url_of(address.hosts[0]), connections_max)
    except ValueError:  # its text may quote a part of the password
        raise StoreError(f"REDIS_URL cannot be read. Write it as {_URL_FORM}.") from None
    return ClusterStore(ClusterTopology(address.hosts, node_at))


class ClusterStore(RedisStore):
    """The store on a cluster: each primary is a shard.

    While a shard is unavailable, its apps are left out where work on the others can continue. They
    are folded later.
    """

    def __init__(self, cluster: ClusterTopology) -> None:
        super().__init__(cluster, _PREFIX)
        self._cluster = cluster

    def shard_of(self, app: str) -> Host | None:
        """The primary that holds an app; None if no node is known to serve it."""
        return self._cluster.shard_of(inbox_key(app))

    def shards(self) -> frozenset[Host]:
        """The primaries of the last known slot map."""
        return self._cluster.map.primaries

    async def refuse_unsupported_data(self) -> None:
        """Reject apps that 'dynometer spread' of an earlier version split into parts."""
        apps = sorted(app.decode() for app in await self._execute("HKEYS", _SPREADS_KEY))
        if apps:
            raise StoreError(
                "This version cannot read apps that 'dynometer spread' split into parts: "
                f"{', '.join(apps)}. To keep their data, go back to the previous version, run "
                "'dynometer spread APP 1' for each app, and wait until the data in the other parts "
                "has expired. Then, or now to give up those parts, run redis-cli -c -h HOST "
                f"-p PORT HDEL '{_SPREADS_KEY}' {' '.join(apps)}"
            )

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        primaries = await self._cluster.reachable_primaries()
        return [app for app in apps if self.shard_of(app) in primaries]

    async def read_inboxes(
        self, apps: Sequence[str], count: int, bytes_max: int
    ) -> dict[str, list[bytes]]:
        inboxes: dict[str, list[bytes]] = {}
        errors: list[StoreUnavailable] = []
        for shard_apps in await self._group_by_shard(apps):
            try:
                inboxes |= await super().read_inboxes(shard_apps, count, bytes_max)
            except StoreUnavailable as error:
                errors.append(error)
        if errors and not inboxes:
            raise errors[0]
        return inboxes

    async def _group_by_shard(self, apps: Sequence[str]) -> list[list[str]]:
        """The apps in groups, one for each shard."""
        await self._cluster.ensure_map_loaded()
        groups: dict[Host | None, list[str]] = {}
        for app in apps:
            groups.setdefault(self.shard_of(app), []).append(app)
        return list(groups.values())


class ClusterTopology:
    """The topology of a cluster: each call goes to the primary that serves its first key."""

    apps_per_script = 1  # a script may use keys of one hash slot only

    def __init__(self, seeds: Sequence[Host], node_at: Callable[[Host], SingleRedis]) -> None:
        self._node_at = node_at
        self._nodes: dict[Host, SingleRedis] = {}
        self.map = SlotMap(seeds, lambda host: self._node(host).send(MAP_COMMANDS))

    def shard_of(self, key: str) -> Host | None:
        """The primary that serves a key; None if no node is known to serve it."""
        try:
            return self.map.owner(key)
        except ClusterDownError:
            return None

    async def ensure_map_loaded(self) -> None:
        """Load the slot map if that has not succeeded yet. It may fail again."""
        if not self.map.is_loaded:
            await self.map.refresh()

    async def reachable_primaries(self) -> set[Host | None]:
        """The primaries that respond to PING now."""
        await self.ensure_map_loaded()
        hosts = list(self.map.primaries)
        results = await asyncio.gather(*map(self._is_reachable, hosts))
        return {host for host, is_reachable in zip(hosts, results, strict=True) if is_reachable}

    async def _is_reachable(self, host: Host) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                (answer,) = await self._node(host).send([("PING",)])
        except (RedisError, OSError, TimeoutError):
            self.map.start_refresh()
            return False
        return not isinstance(answer, Exception)

    async def send(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        return await self._send_to_owners(calls, lambda node: node.send, prefix)

    async def send_replicated(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        return await self._send_to_owners(calls, lambda node: node.send_replicated, prefix)

    async def read_lists(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        return await self._send_to_owners(calls, lambda node: node.read_lists, prefix)

    async def _send_to_owners(
        self, calls: Sequence[Call], method: Callable[[SingleRedis], Send], prefix: Call
    ) -> list[Any]:
        """Send each call to the node that serves its key.

        Calls that were not executed because the key lies elsewhere are repeated until
        RETRY_TIMEOUT_S has passed; then their errors are returned.
        """
        await self.ensure_map_loaded()
        deadline_s = asyncio.get_running_loop().time() + RETRY_TIMEOUT_S
        answers: list[Any] = [None] * len(calls)
        pending: Sequence[int] = range(len(calls))
        while True:
            await asyncio.gather(
                *(
                    self._send_to_node(method(self._node(host)), calls, positions, prefix, answers)
                    for host, positions in self._group_by_node(calls, pending, answers).items()
                )
            )
            pending = [i for i in pending if isinstance(answers[i], _NOT_EXECUTED)]
            if not pending or asyncio.get_running_loop().time() >= deadline_s:
                return answers
            await asyncio.sleep(RETRY_DELAY_S)
            await self.map.refresh()

    def _group_by_node(
        self, calls: Sequence[Call], positions: Sequence[int], answers: list[Any]
    ) -> Mapping[Host, list[int]]:
        groups: dict[Host, list[int]] = {}
        for i in positions:
            try:
                groups.setdefault(self.map.owner(calls[i][1]), []).append(i)
            except ClusterDownError as error:
                answers[i] = error
        return groups

    async def _send_to_node(
        self,
        send: Send,
        calls: Sequence[Call],
        positions: Sequence[int],
        prefix: Call,
        answers: list[Any],
    ) -> None:
        """Write the answers of one node into `answers`; its failure counts for all its calls."""
        try:
            node_answers = await send([calls[i] for i in positions], prefix)
        except (RedisError, OSError, TimeoutError) as error:
            self.map.start_refresh()
            node_answers = [error] * len(positions)
        for i, answer in zip(positions, node_answers, strict=True):
            answers[i] = answer

    def _node(self, host: Host) -> SingleRedis:
        node = self._nodes.get(host)
        if node is None:
            node = self._nodes[host] = self._node_at(host)
        return node

    async def load_script(self, script: str) -> None:
        """Load a script on all primaries that respond in time. Others load it when next used."""
        tasks = [
            asyncio.create_task(self._node(host).load_script(script), name="load script")
            for host in self.map.primaries
        ]
        _, overdue = await asyncio.wait(tasks, timeout=SCRIPT_LOAD_TIMEOUT_S)
        for task in overdue:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def infos(self) -> list[Mapping[str, Any]]:
        await self.ensure_map_loaded()
        if not self.map.primaries:
            raise ClusterDownError("no node in REDIS_URL responds as part of a cluster")
        return [
            info for host in sorted(self.map.primaries) for info in await self._node(host).infos()
        ]

    async def settings(self, *names: str) -> dict[str, str]:
        """The settings of the first primary that responds."""
        for host in sorted(self.map.primaries):
            with suppress(RedisError, OSError, TimeoutError):
                return await self._node(host).settings(*names)
        return {}

    async def warnings(self) -> list[str]:
        await self.map.refresh()
        warnings = []
        if self.map.is_loaded and self.map.unassigned_slots:
            warnings.append(
                f"{self.map.unassigned_slots} hash slots of the cluster are served by no node. "
                "Run 'redis-cli --cluster check HOST:PORT'."
            )
        for host in sorted(self.map.primaries):
            warnings += await self._node_warnings(host)
        return warnings

    async def _node_warnings(self, host: Host) -> list[str]:
        node = self._node(host)
        try:
            info, nodes = await node.send([("INFO", "replication"), ("CLUSTER", "NODES")])
            warnings = await node.warnings()
            settings = await node.settings(_FULL_COVERAGE)
        except (RedisError, OSError, TimeoutError) as error:
            return [f"Primary {host} of the cluster does not respond ({error}). Start it."]
        if settings.get(_FULL_COVERAGE) == "yes":
            warnings.append(
                f"{_FULL_COVERAGE} of {host} is yes, so it rejects all commands while any primary "
                f"is down. Run 'redis-cli CONFIG SET {_FULL_COVERAGE} no' on each node."
            )
        if isinstance(info, bytes) and b"connected_slaves:0" in info:
            warnings.append(
                f"Primary {host} of the cluster has no replica. If it fails, its apps wait until "
                "it is back. Add a replica."
            )
        own_line = next(
            (line for line in bytes(nodes or b"").splitlines() if b"myself" in line), b""
        )
        # CLUSTER NODES lists slots in transit in brackets, behind the state of the link.
        if b"[" in own_line.partition(b"connected")[2]:
            warnings.append(
                f"Hash slots of {host} are being moved to another node, and their apps wait. If "
                "the move was interrupted, run 'redis-cli --cluster fix HOST:PORT'."
            )
        return warnings

    async def close(self) -> None:
        await asyncio.gather(*self.map.close(), return_exceptions=True)
        for node in self._nodes.values():
            await node.close()
