"""The store in memory, for tests and for trying things out: the same behaviour as on Redis, gone
with the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

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
    SeenApp,
    ServerInfo,
    Slot,
    SlotWrite,
    StatePrecondition,
    last_header,
)
from app.storage.memory_alerts import MemoryAlerts


@dataclass(slots=True)
class _List:
    elements: list[bytes] = field(default_factory=list)
    expires_ms: float = 0


class MemoryStore(MemoryAlerts):
    """See port.Store. Atomic because nothing in a method awaits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: Unix time in seconds, by which data expires."""
        super().__init__(clock)
        self._lists: dict[tuple[str, Slot | None], _List] = {}  # None: the inbox
        self._states: dict[str, tuple[bytes, float]] = {}
        self._ids: dict[tuple[str, bytes], tuple[bytes, float]] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._seen: dict[str, SeenApp] = {}
        self._seen_expire_ms = 0.0  # all at once, as long after the last sighting of any app
        self._drains: dict[str, str] = {}
        self._tokens: dict[str, bytes] = {}
        self._heartbeats: dict[str, tuple[dict[str, str], float]] = {}

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        return {
            app: self._append(app, batches, guards.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, batches in groups.items()
        }

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        places: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        return {
            app: self._append(app, batches, guards.get(app), id_ttl_ms, inbox_ttl_ms, places[app])
            for app, batches in groups.items()
        }

    def _append(
        self,
        app: str,
        batches: Sequence[Batch],
        guard: StatePrecondition | None,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        places: Sequence[LogOffset] = (),
    ) -> Appended:
        now_ms = self._now_ms()
        state = self._state(app)
        stale = guard is not None and guard.expected != state
        outcomes = []
        length = 0
        for batch, place in zip_longest(batches, places):
            passed = place is not None and not stale and self._pass(app, place)
            token, expires_ms = self._ids.get((app, batch.id), (b"", 0.0))
            if batch.id and expires_ms > now_ms:
                same = token == batch.token
                outcomes.append(Outcome.OWN_RETRY if same else Outcome.DUPLICATE)
                continue
            if passed:
                outcomes.append(Outcome.REPLAYED)
                continue
            if stale:
                outcomes.append(Outcome.STALE)
                continue
            length = self._push(app, None, batch.element, inbox_ttl_ms)
            if batch.id:
                self._ids[app, batch.id] = (batch.token, now_ms + id_ttl_ms)
            outcomes.append(Outcome.STORED)
        if guard is not None and length and guard.new:
            self._states[app] = (guard.new, now_ms + inbox_ttl_ms)
        return Appended(outcomes, length, state if stale else b"")

    def _pass(self, app: str, place: LogOffset) -> bool:
        """Whether this place was passed before; it is now."""
        offset = self._places.get((app, place.source), -1)
        self._places[app, place.source] = max(offset, place.offset)
        return place.offset <= offset

    async def append_bundles(
        self,
        bundles: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, int]:
        return {
            app: self._append_bundle(app, bundle, guards.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, bundle in bundles.items()
        }

    def _append_bundle(
        self,
        app: str,
        bundle: CoalescedElement,
        guard: StatePrecondition | None,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
    ) -> int:
        now_ms = self._now_ms()
        known = (self._ids.get((app, each), (b"", 0.0)) for each in bundle.ids)
        if any(expires_ms > now_ms for _, expires_ms in known):
            return 0
        if guard is not None and guard.expected != self._state(app):
            return 0
        for each, token in zip(bundle.ids, bundle.tokens, strict=True):
            self._ids[app, each] = (token, now_ms + id_ttl_ms)
        if guard is not None and guard.new:
            self._states[app] = (guard.new, now_ms + inbox_ttl_ms)
        return self._push(app, None, bundle.element, inbox_ttl_ms)

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        return {app: state for app in apps if (state := self._state(app))}

    def _state(self, app: str) -> bytes:
        state, expires_ms = self._states.get(app, (b"", 0.0))
        return state if expires_ms > self._now_ms() else b""

    async def read_inbox(self, app: str, count: int) -> list[bytes]:
        return self._elements(app, None)[:count]

    async def fold(
        self, app: str, folded: Sequence[bytes], writes: Sequence[SlotWrite]
    ) -> dict[Slot, int] | None:
        inbox = self._elements(app, None)
        if not _begins(inbox, folded):
            return None
        del inbox[: len(folded)]
        return {
            write.slot: self._push(app, write.slot, write.element, write.ttl_ms) for write in writes
        }

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        found = {app: await self.read_inbox(app, count) for app in apps}
        return {app: elements for app, elements in found.items() if elements}

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        return {app: await self.fold(app, fold.folded, fold.writes) for app, fold in folds.items()}

    async def compact(
        self, app: str, slot: Slot, merged: Sequence[bytes], element: bytes, ttl_ms: int
    ) -> bool:
        elements = self._elements(app, slot)
        if not (merged and _begins(elements, merged)):
            return False
        rest = elements[len(merged) :]
        self._push(app, slot, element, ttl_ms)
        elements[:] = [element, *rest]
        return True

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        found = {slot: list(self._elements(app, slot)) for slot in slots}
        return Contents(
            list(self._elements(app, None)) if inbox else [],
            {slot: elements for slot, elements in found.items() if elements},
        )

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        return [await self.read(app, slots) for app, slots in asked]

    async def reachable(self, apps: Sequence[str]) -> list[str]:
        return list(apps)

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        return [await self.compact(*each) for each in compactions]

    async def read_slots(self, asked: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        return [list(self._elements(app, slot)) for app, slot in asked]

    async def drop(self, app: str, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._elements(app, slot).clear()

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        return {app: len(self._elements(app, None)) for app in apps}

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        self._expire_seen()
        self._seen_expire_ms = self._now_ms() + ttl_ms
        for seen in apps:
            known = self._seen.get(seen.app, seen)
            self._seen[seen.app] = SeenApp(
                seen.app,
                min(known.first_seen_s, seen.first_seen_s),
                max(known.last_seen_s, seen.last_seen_s),
                max(known.runtime_metrics_s, seen.runtime_metrics_s),
            )

    async def seen_apps(self) -> list[SeenApp]:
        self._expire_seen()
        return [self._seen[app] for app in sorted(self._seen)]

    async def forget_apps(self, before_s: int) -> list[str]:
        self._expire_seen()
        old = [app for app, seen in self._seen.items() if seen.last_seen_s < before_s]
        for app in old:
            del self._seen[app]
        return old

    async def swap_drain(self, app: str, before: str, after: str) -> bool:
        if self._drains.get(app, "") != before:
            return False
        if after:
            self._drains[app] = after
        else:
            self._drains.pop(app, None)
        return True

    async def drains(self) -> dict[str, str]:
        return dict(self._drains)

    async def put_token(self, token_id: str, record: bytes) -> None:
        self._tokens[token_id] = record

    async def remove_token(self, token_id: str) -> bool:
        return self._tokens.pop(token_id, None) is not None

    async def tokens(self) -> dict[str, bytes]:
        return dict(self._tokens)

    async def heartbeat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        self._heartbeats[name] = (dict(fields), self._now_ms() + ttl_ms)

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        now_ms = self._now_ms()
        return {
            name: dict(fields)
            for name, (fields, expires_ms) in self._heartbeats.items()
            if expires_ms > now_ms
        }

    async def check(self) -> list[str]:
        return []

    async def warnings(self) -> list[str]:
        return []

    async def server_info(self) -> ServerInfo:
        return ServerInfo("memory of this process", 0, 0, "")

    async def close(self) -> None:
        return None

    def _now_ms(self) -> float:
        return self._clock() * 1000

    def _expire_seen(self) -> None:
        if self._seen_expire_ms <= self._now_ms():
            self._seen.clear()

    def _elements(self, app: str, slot: Slot | None) -> list[bytes]:
        """The live list itself."""
        kept = self._lists.get((app, slot))
        if kept is not None and kept.expires_ms <= self._now_ms():
            del self._lists[app, slot]
            kept = None
        return kept.elements if kept is not None else []

    def _push(self, app: str, slot: Slot | None, element: bytes, ttl_ms: int) -> int:
        self._elements(app, slot)  # what has expired goes first
        kept = self._lists.setdefault((app, slot), _List())
        kept.elements.append(element)
        kept.expires_ms = max(kept.expires_ms, self._now_ms() + ttl_ms)
        return len(kept.elements)


def _begins(elements: Sequence[bytes], read: Sequence[bytes]) -> bool:
    """Whether a list still begins with what was read of it."""
    n = len(read)
    return len(elements) >= n and last_header(elements[:n]) == last_header(read)
