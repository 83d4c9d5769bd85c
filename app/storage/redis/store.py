"""The store on Redis or Valkey: commands of Redis 6.2 and Lua, no modules.

    dm:{APP}:inbox              list of elements: batches not yet folded
    dm:ids, dm:ids:before       hashes: id of a batch and app -> token of the POST that brought it
    dm:{APP}:log                hash: source -> offset of what was last appended from a log
    dm:{APP}:drain              which of the app's drains counts (active_drain)
    dm:{APP}:1m:<start>         list of elements: rollups of one interval; also 10m, 1h, total:0,
    unreadable:0
    dm:apps:first_seen          sorted sets: app by Unix seconds; also last_seen, runtime_metrics
    dm:beat:<name>              hash: the last sign of life of a worker
    dm:beats                    set: names of the workers that gave one
    dm:drains                   hash: app -> its drain secrets, hashed
    dm:tokens                   hash: id -> a read token, hashed. These two never expire, nor do
    dm:{!alerts}:rules, :channels   (app/storage/redis/alerts.py has all of the alerts)

{APP} is a hash tag: on a cluster, an app's keys lie together, as its scripts need. There ids are
in hashes of each app, dm:{APP}:ids; and all that is not of an app begins with dm:{!service}:
instead, and lies together, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

from app.storage.interface import (
    NO_GUARDS,
    Appended,
    Batch,
    CoalescedElement,
    Compaction,
    Contents,
    Fold,
    LogOffset,
    Outcome,
    ServerInfo,
    Slot,
    SlotWrite,
    StatePrecondition,
    StoreError,
    last_header,
)
from app.storage.redis.commands import RedisTopology, Script, asking, unless_refused
from app.storage.redis.keys import (
    append_call,
    append_from_log_call,
    bundle_call,
    fold_call,
    ids_of_all,
    ids_of_each,
    inbox_key,
    slot_key,
    state_key,
)
from app.storage.redis.server_info import problems_of, server_info
from app.storage.redis.service_state import RedisService
from app.storage.redis.single import CONNECTIONS_MAX, SingleRedis, pool_to
from app.storage.redis.slot_cache import SlotCache

_PREFIX = "dm:"
_T = TypeVar("_T")

_APPEND, _APPEND_FROM_LOG, _BUNDLE = (
    Script("ids.lua", f"{name}.lua") for name in ("append", "append_from_log", "bundle")
)
_FOLD, _COMPACT, _READ = (Script(f"{name}.lua") for name in ("fold", "compact", "read"))


def connect(url: str, connections_max: int = CONNECTIONS_MAX, replicas: int = 0) -> RedisStore:
    """See engine.connect."""
    try:
        pool = pool_to(url, connections_max)
    except ValueError:  # its text may quote a part of the password
        raise StoreError(
            "REDIS_URL cannot be read: it must be redis://USER:PASSWORD@HOST:PORT/0, rediss://… or "
            "unix:///PATH, with / # ? @ : in a password written as %2F %23 %3F %40 %3A"
        ) from None
    return RedisStore(SingleRedis(pool, replicas))


class RedisStore(RedisService):
    """See port.Store."""

    def __init__(self, server: RedisTopology, prefix: str = _PREFIX) -> None:
        """`prefix`: of the keys that are not of an app."""
        super().__init__(server, prefix)
        self._apps_per_script = server.apps_per_script
        self._ids_of = ids_of_all if server.apps_per_script > 1 else ids_of_each
        self._kept = SlotCache()

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        calls = [
            append_call(self._ids_of(app), app, batches, guards.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, batches in groups.items()
        ]
        return _appended(groups, await self._commit_all(_APPEND, calls))

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        places: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        calls = [
            append_from_log_call(
                self._ids_of(app),
                app,
                batches,
                places[app],
                guards.get(app),
                id_ttl_ms,
                inbox_ttl_ms,
            )
            for app, batches in groups.items()
        ]
        return _appended(groups, await self._commit_all(_APPEND_FROM_LOG, calls))

    async def append_bundles(
        self,
        bundles: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, int]:
        calls = [
            bundle_call(self._ids_of(some[0][0]), some, guards, id_ttl_ms, inbox_ttl_ms)
            for some in _in_pieces(list(bundles.items()), self._apps_per_script)
        ]
        lengths = _of_each_app(await self._commit_all(_BUNDLE, calls))
        return dict(zip(bundles, lengths, strict=True))

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        states = await self._ask_all([("GET", state_key(app)) for app in apps])
        return {app: state for app, state in zip(apps, states, strict=True) if state}

    async def read_inbox(self, app: str, count: int) -> list[bytes]:
        return cast("list[bytes]", await self._ask("LRANGE", inbox_key(app), 0, count - 1))

    async def fold(
        self, app: str, folded: Sequence[bytes], writes: Sequence[SlotWrite]
    ) -> dict[Slot, int] | None:
        return (await self.fold_all({app: Fold(folded, writes)}))[app]

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        calls = [("LRANGE", inbox_key(app), 0, count - 1) for app in apps]
        answers = await self._ask_all(calls)
        return {app: elements for app, elements in zip(apps, answers, strict=True) if elements}

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        pieces = _in_pieces(list(folds.items()), self._apps_per_script)
        answers = _of_each_app(await self._evaluate_all(_FOLD, list(map(fold_call, pieces))))
        return {
            app: None
            if lengths is None
            else {write.slot: length for write, length in zip(fold.writes, lengths, strict=True)}
            for (app, fold), lengths in zip(folds.items(), answers, strict=True)
        }

    async def compact(
        self, app: str, slot: Slot, merged: Sequence[bytes], element: bytes, ttl_ms: int
    ) -> bool:
        return (await self.compact_all([Compaction(app, slot, merged, element, ttl_ms)]))[0]

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        calls = [
            [1, slot_key(app, slot), len(merged), last_header(merged), element, ttl_ms]
            for app, slot, merged, element, ttl_ms in compactions
        ]
        return [bool(each) for each in await self._evaluate_all(_COMPACT, calls)]

    async def read_slots(self, asked: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        calls = [("LRANGE", slot_key(app, slot), 0, -1) for app, slot in asked]
        return await self._ask_all(calls)

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        keys = [slot_key(app, slot) for slot in slots]
        known = self._kept.known(keys)
        versions = self._kept.versions(keys, known)
        found = await self._evaluate(_READ, [*keys, inbox_key(app)] if inbox else keys, [versions])
        self._kept.complete(keys, slots, known, found)
        return _contents(slots, found)

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        calls = [
            [len(slots) + 1, *(slot_key(app, slot) for slot in slots), inbox_key(app)]
            for app, slots in asked
        ]
        found = await self._evaluate_all(_READ, calls)
        return [_contents(slots, each) for (_, slots), each in zip(asked, found, strict=True)]

    async def reachable(self, apps: Sequence[str]) -> list[str]:
        return list(apps)

    async def drop(self, app: str, slots: Sequence[Slot]) -> None:
        if slots:
            await self._ask("DEL", *(slot_key(app, slot) for slot in slots))

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        lengths = await self._ask_all([("LLEN", inbox_key(app)) for app in apps])
        return dict(zip(apps, lengths, strict=True))

    async def check(self) -> list[str]:
        infos = await asking(self._server.infos())
        return list(dict.fromkeys(problem for info in infos for problem in problems_of(info)))

    async def warnings(self) -> list[str]:
        return await asking(self._server.problems())

    async def server_info(self) -> ServerInfo:
        infos = await asking(self._server.infos())
        return server_info(infos, await asking(self._server.settings("appendfsync", "save")))

    async def close(self) -> None:
        await self._server.close()


def _appended(apps: Iterable[str], answers: Sequence[Any]) -> dict[str, Appended]:
    return {
        app: Appended([Outcome(outcome) for outcome in answer[:-2]], answer[-2], answer[-1])
        for app, answer in zip(apps, answers, strict=True)
    }


def _in_pieces(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _of_each_app(answers: Sequence[Any]) -> list[Any]:
    """What scripts said that go through several apps."""
    return unless_refused(list(chain.from_iterable(answers)))


def _contents(slots: Sequence[Slot], found: Sequence[Any]) -> Contents:
    """What read.lua returned of these slots and of the inbox behind them."""
    lists = dict(zip(found[::2], found[1::2], strict=True))
    inbox = lists.pop(len(slots) + 1, [])
    return Contents(inbox, {slots[position - 1]: elements for position, elements in lists.items()})
