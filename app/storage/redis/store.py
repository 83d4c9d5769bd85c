"""The store on Redis or Valkey: commands of Redis 6.2 and Lua, no modules.

    dm:{APP}:inbox              list of elements: batches not yet folded
    dm:ids, dm:ids:before       hashes: batch id and app -> token of the POST (ids.lua)
    dm:{APP}:log                hash: source -> last offset that was appended from a log
    dm:{APP}:changed            hash: start of an hour that a fold changed -> header of its last
                                element; only with an archive
    dm:{APP}:drain              string: which of the app's drains counts (app.access.drain_election)
    dm:{APP}:1m:<start>         list of elements: rollups of one interval; also 10m, 1h, total:0
                                and unreadable:0
    dm:identity                 string: id and epoch of the store; never expires
    dm:apps:first_seen          sorted set: app by Unix seconds; also last_seen, runtime_metrics
                                and removed
    dm:apps:origins             hash: app -> origin, of apps without a drain (interface.apps)
    dm:beat:<name>              hash: the fields of a status record
    dm:beats                    set: names of status records
    dm:drains                   hash: app -> drain record, with hashed secrets; never expires
    dm:tokens                   hash: id -> read token, hashed; never expires
    dm:access                   hash: name -> note (app.access.access_notes); never expires
    dm:{!alerts}:…              listed in app.storage.redis.alerts

{APP} is a hash tag: on a cluster, all keys of an app lie on one node, as scripts require. There,
ids are in hashes of each app (dm:{APP}:ids, …), and the keys without an app start with
dm:{!service}: instead of dm:, so that they lie together too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from app.storage.interface.batches import (
    ID_BYTES,
    NO_PRECONDITIONS,
    AppendResult,
    Batch,
    CoalescedElement,
    LogOffset,
    Outcome,
    StatePrecondition,
)
from app.storage.interface.elements import Slot, last_header
from app.storage.interface.errors import StoreError
from app.storage.interface.folding import Compaction, Fold, HourChange
from app.storage.interface.rollups import Contents, Part
from app.storage.interface.server import ServerInfo
from app.storage.redis.commands import (
    RedisTopology,
    Script,
    parse_map,
    raise_errors,
    translate_errors,
)
from app.storage.redis.keys import (
    app_id_keys,
    append_call,
    append_coalesced_call,
    append_from_log_call,
    changed_hours_key,
    fold_call,
    inbox_key,
    shared_id_keys,
    slot_key,
    state_key,
)
from app.storage.redis.server_info import problems_of, server_info
from app.storage.redis.service_state import COMPARE_AND_SET, RedisService
from app.storage.redis.single import CONNECTIONS_MAX, SingleRedis, create_pool

_PREFIX = "dm:"
_KEYS_PER_CALL = 1_000
TTLS_DUE_S = 1.0  # much less than SPARE_MS in ids.lua
_SCAN = ("COUNT", 1_000)
_T = TypeVar("_T")

_APPEND, _APPEND_FROM_LOG, _APPEND_COALESCED = (
    Script("ids.lua", f"{name}.lua") for name in ("append", "append_from_log", "append_coalesced")
)
_FOLD, _COMPACT, _COUNT_LISTS, _READ_FIRST = (
    Script(f"{name}.lua") for name in ("fold", "compact", "count_lists", "read_first")
)


def connect(url: str, connections_max: int = CONNECTIONS_MAX, replicas: int = 0) -> RedisStore:
    """Open the store at a redis://, rediss:// or unix:// URL."""
    try:
        pool = create_pool(url, connections_max)
    except ValueError:  # its text may quote a part of the password
        raise StoreError(
            "REDIS_URL cannot be read. Write it as redis://USER:PASSWORD@HOST:PORT/0, rediss://… "
            "or unix:///PATH, with / # ? @ : in a password written as %2F %23 %3F %40 %3A."
        ) from None
    return RedisStore(SingleRedis(pool, replicas))


class RedisStore(RedisService):
    """The Store on Redis: every method that must be atomic is one script."""

    def __init__(self, topology: RedisTopology, prefix: str = _PREFIX) -> None:
        """`prefix`: of the keys that belong to no app."""
        super().__init__(topology, prefix)
        self._apps_per_script = topology.apps_per_script
        self._id_keys = shared_id_keys if topology.apps_per_script > 1 else app_id_keys
        # Of the ids, by the monotonic clock. On a cluster they are due each time: there, each app
        # has ids of its own.
        self._ttls_due_s = 0.0

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        calls = [
            append_call(
                self._id_keys(app), app, batches, preconditions.get(app), id_ttl_ms, inbox_ttl_ms
            )
            for app, batches in groups.items()
        ]
        return _append_results(
            groups, await self._evaluate_all(_APPEND, calls, self._topology.send_replicated)
        )

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        offsets: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        calls = [
            append_from_log_call(
                self._id_keys(app),
                app,
                batches,
                offsets[app],
                preconditions.get(app),
                id_ttl_ms,
                inbox_ttl_ms,
            )
            for app, batches in groups.items()
        ]
        return _append_results(
            groups,
            await self._evaluate_all(_APPEND_FROM_LOG, calls, self._topology.send_replicated),
        )

    async def append_coalesced(
        self,
        elements: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        called_s = time.monotonic()
        has_due_ttls = called_s >= self._ttls_due_s or self._apps_per_script == 1
        calls = [
            append_coalesced_call(
                self._id_keys(chunk[0][0]),
                chunk,
                preconditions,
                id_ttl_ms,
                inbox_ttl_ms,
                has_due_ttls=has_due_ttls,
            )
            for chunk in _chunks(list(elements.items()), self._apps_per_script)
        ]
        send = self._topology.send_replicated
        lengths = _flatten(await self._evaluate_all(_APPEND_COALESCED, calls, send))
        if has_due_ttls:  # not if it failed
            self._ttls_due_s = called_s + TTLS_DUE_S
        return dict(zip(elements, lengths, strict=True))

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        states = await self._execute_all([("GET", state_key(app)) for app in apps])
        return {app: state for app, state in zip(apps, states, strict=True) if state}

    async def read_inboxes(
        self, apps: Sequence[str], count: int, bytes_max: int
    ) -> dict[str, list[bytes]]:
        calls = [[1, inbox_key(app), count, bytes_max] for app in apps]
        answers = await self._evaluate_all(_READ_FIRST, calls)
        return {app: elements for app, elements in zip(apps, answers, strict=True) if elements}

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        chunks = _chunks(list(folds.items()), self._apps_per_script)
        answers = _flatten(await self._evaluate_all(_FOLD, list(map(fold_call, chunks))))
        return {
            app: None
            if lengths is None
            else {write.slot: length for write, length in zip(fold.writes, lengths, strict=True)}
            for (app, fold), lengths in zip(folds.items(), answers, strict=True)
        }

    async def changed_hours(self, apps: Sequence[str]) -> list[HourChange]:
        answers = await self._execute_all([("HGETALL", changed_hours_key(app)) for app in apps])
        return [
            HourChange(app, int(start), mark)
            for app, answer in zip(apps, answers, strict=True)
            for start, mark in parse_map(answer).items()
        ]

    async def forget_changes(self, changes: Sequence[HourChange]) -> None:
        calls = [
            [1, changed_hours_key(change.app), change.start_s, change.mark, b""]
            for change in changes
        ]
        await self._evaluate_all(COMPARE_AND_SET, calls)

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        calls = [
            [1, slot_key(app, slot), len(elements), last_header(elements), replacement, ttl_ms]
            for app, slot, elements, replacement, ttl_ms in compactions
        ]
        return [bool(answer) for answer in await self._evaluate_all(_COMPACT, calls)]

    async def read_slots(self, slots: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        calls = [("LRANGE", slot_key(app, slot), 0, -1) for app, slot in slots]
        return await self._execute_all(calls)

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        keys = [slot_key(app, slot) for slot in slots]
        if inbox:
            keys.append(inbox_key(app))
        if not keys:
            return Contents([], {})
        (lists,) = await self._read_groups([[len(keys), *keys]])
        return _contents(slots, lists)

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        calls = [
            [len(slots) + 1, *(slot_key(app, slot) for slot in slots), inbox_key(app)]
            for app, slots in requests
        ]
        answers = await self._read_groups(calls)
        return [
            _contents(slots, lists) for (_, slots), lists in zip(requests, answers, strict=True)
        ]

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        calls = [
            [len(slots), *(slot_key(app, slot) for slot in slots), bytes_max]
            for app, slots in requests
        ]
        counts = await self._evaluate_all(_COUNT_LISTS, calls)
        first_slots = [
            (app, slots[:count]) for (app, slots), count in zip(requests, counts, strict=True)
        ]
        return list(map(Part, await self.read_many(first_slots), counts))

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        return list(apps)

    async def delete_slots(self, app: str, slots: Sequence[Slot]) -> None:
        if slots:
            await self._execute("DEL", *(slot_key(app, slot) for slot in slots))

    async def remove_app(self, app: str, slots: Sequence[Slot], *, now_s: int, ttl_ms: int) -> None:
        # First, so that a batch which waits on a disk cannot come back after its app is gone.
        await self._record_removal(app, now_s, ttl_ms)
        keys = [inbox_key(app), state_key(app), changed_hours_key(app)]
        keys += (slot_key(app, slot) for slot in slots)
        await self._execute_all([("UNLINK", *chunk) for chunk in _chunks(keys, _KEYS_PER_CALL)])
        for key in self._id_keys(app):
            await self._remove_ids(key, app)
        await self._remove_alerts(app)
        await self._remove_sightings([app])

    async def _remove_ids(self, key: str, app: str) -> None:
        """Remove the batch ids of an app. The fields of the hash are an id and the app's name."""
        cursor = b"0"
        while True:
            cursor, entries = await self._execute("HSCAN", key, cursor, "MATCH", f"*{app}", *_SCAN)
            ids = [field for field in parse_map(entries) if len(field) == ID_BYTES + len(app)]
            if ids:
                await self._execute("HDEL", key, *ids)
            if int(cursor) == 0:
                return

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        lengths = await self._execute_all([("LLEN", inbox_key(app)) for app in apps])
        return dict(zip(apps, lengths, strict=True))

    async def problems(self) -> list[str]:
        infos = await translate_errors(self._topology.infos())
        return list(dict.fromkeys(problem for info in infos for problem in problems_of(info)))

    async def warnings(self) -> list[str]:
        return await translate_errors(self._topology.warnings())

    async def server_info(self) -> ServerInfo:
        infos = await translate_errors(self._topology.infos())
        return server_info(
            infos, await translate_errors(self._topology.settings("appendfsync", "save"))
        )

    async def close(self) -> None:
        await self._topology.close()


def _append_results(apps: Iterable[str], answers: Sequence[Any]) -> dict[str, AppendResult]:
    return {
        app: AppendResult([Outcome(outcome) for outcome in answer[:-2]], answer[-2], answer[-1])
        for app, answer in zip(apps, answers, strict=True)
    }


def _chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _flatten(answers: Sequence[Any]) -> list[Any]:
    """The answers for each app, from scripts that handle several apps in one call."""
    return raise_errors(list(chain.from_iterable(answers)))


def _contents(slots: Sequence[Slot], lists: Sequence[list[bytes]]) -> Contents:
    """The contents of these slots, from their lists, and from that of the inbox if it was read."""
    inbox = lists[len(slots)] if len(lists) > len(slots) else []
    lists_by_slot = {
        slot: elements for slot, elements in zip(slots, lists, strict=False) if elements
    }
    return Contents(inbox, lists_by_slot)
