"""Which node of a cluster serves which hash slots, as the cluster itself says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from random import sample
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError

from app.storage.redis.urls import Host

SLOTS = 16_384
ASKED_AT_ONCE = 8  # nodes, of which the answer of the newest epoch is taken
ANSWER_WITHIN_S = 0.5
AGAIN_S = 0.1  # at most so often

Ask = Callable[[Host], Awaitable[list[Any]]]
"""The answers of a node to QUESTIONS."""
QUESTIONS = (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))


def slot_of(key: str | bytes) -> int:
    """Of a key; of what stands between braces in it, if anything does."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


class SlotMap:
    """The map as it was seen last. A node that was cut off, or came back, may say what held long
    ago: so several are asked, and the newest epoch counts.
    """

    def __init__(self, seeds: Sequence[Host], ask: Ask) -> None:
        """`seeds`: nodes of the cluster, some of which are there."""
        self._seeds = tuple(seeds)
        self._ask = ask
        self._epoch = -1
        self._owners: list[Host | None] = [None] * SLOTS
        self._looking: asyncio.Task[None] | None = None
        self._looked_s = float("-inf")
        self.primaries: frozenset[Host] = frozenset()
        self.nodes: frozenset[Host] = frozenset(seeds)

    def owner(self, key: str | bytes) -> Host:
        """The node to ask about a key.

        Raises:
            ClusterDownError: none is known.
        """
        found = self._owners[slot_of(key)]
        if found is None:
            raise ClusterDownError("no node is known to serve these keys")
        return found

    @property
    def uncovered(self) -> int:
        """Slots that nobody serves."""
        return self._owners.count(None)

    @property
    def known(self) -> bool:
        """Whether it was seen at all."""
        return self._epoch >= 0

    async def look(self) -> None:
        """Look again, unless somebody has just done so. Nobody may answer: then what was known
        stays.
        """
        await asyncio.shield(self.look_soon())

    def look_soon(self) -> asyncio.Task[None]:
        """The same, in the background."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="cluster map")
        return self._looking

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._looked_s + AGAIN_S - loop.time())
        self._looked_s = loop.time()
        others = self.nodes.difference(self._seeds)
        asked = [*self._seeds, *sample(list(others), min(ASKED_AT_ONCE, len(others)))]
        answers = await asyncio.gather(*map(self._answer, asked))
        for host, answer in zip(asked, answers, strict=True):
            if answer is not None:
                self._learn(host, *answer)

    async def _answer(self, host: Host) -> tuple[int, Any] | None:
        """The epoch and the slots that a node tells; None when it does not answer, or not yet."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                info, slots = await self._ask(host)
        except (RedisError, OSError, TimeoutError):
            return None
        if isinstance(info, Exception) or isinstance(slots, Exception):
            return None
        fields = _fields(info)
        return int(fields.get("cluster_current_epoch", 0)), slots

    def _learn(self, told_by: Host, epoch: int, ranges: Any) -> None:
        if epoch < self._epoch or not ranges:
            return
        self._epoch = epoch
        owners: list[Host | None] = [None] * SLOTS
        nodes = set()
        for first, last, *serving in ranges:
            hosts = [_host(each, told_by) for each in serving]
            nodes.update(hosts)
            owners[first : last + 1] = [hosts[0]] * (last + 1 - first)
        self._owners = owners
        self.primaries = frozenset(owner for owner in owners if owner is not None)
        self.nodes = frozenset(nodes)

    def close(self) -> Collection[asyncio.Task[None]]:
        """Stop looking; returns what must be awaited."""
        if self._looking is None:
            return ()
        self._looking.cancel()
        return (self._looking,)


def _host(node: Sequence[Any], told_by: Host) -> Host:
    """A node that does not know its own name is the one that tells."""
    name = (node[0] or b"").decode()
    return Host(name if name not in ("", "?") else told_by.name, int(node[1]))


def _fields(info: bytes | str) -> Mapping[str, str]:
    text = info.decode() if isinstance(info, bytes) else info
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
