"""The in-memory store, for tests and demonstrations: works like Redis, ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from app.storage.interface.access import AccessTables
from app.storage.interface.apps import DRAIN, SeenApp
from app.storage.interface.batches import (
    NO_PRECONDITIONS,
    AppendResult,
    Batch,
    CoalescedElement,
    LogOffset,
    Outcome,
    StatePrecondition,
)
from app.storage.interface.elements import Slot, last_header
from app.storage.interface.folding import Compaction, Fold, HourChange
from app.storage.interface.identity import StoreIdentity, new_store_id
from app.storage.interface.rollups import Contents, Part
from app.storage.interface.server import ServerInfo
from app.storage.memory_alerts import MemoryAlerts


@dataclass(slots=True)
class _List:
    elements: list[bytes] = field(default_factory=list)
    expires_ms: float = 0


class MemoryStore(MemoryAlerts):
    """A Store in memory. Methods are atomic because none of them awaits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: returns Unix seconds; data expires by it."""
        super().__init__(clock)
        self._identity = StoreIdentity(new_store_id(), int(clock()))
        self._lists: dict[tuple[str, Slot | None], _List] = {}  # slot None: the inbox
        self._states: dict[str, tuple[bytes, float]] = {}
        self._ids: dict[tuple[str, bytes], tuple[bytes, float]] = {}
        self._log_offsets: dict[tuple[str, str], LogOffset] = {}
        self._changed_hours: dict[tuple[str, int], bytes] = {}  # by app and start
        self._sightings: dict[str, SeenApp] = {}
        self._sightings_expire_ms = 0.0  # one expiry for all apps, as in Redis
        self._removed_apps: dict[str, int] = {}
        self._drains: dict[str, str] = {}
        self._tokens: dict[str, bytes] = {}
        self._notes: dict[str, str] = {}
        self._statuses: dict[str, tuple[dict[str, str], float]] = {}

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        return {
            app: self._append(app, batches, preconditions.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, batches in groups.items()
        }

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        offsets: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        return {
            app: self._append(
                app, batches, preconditions.get(app), id_ttl_ms, inbox_ttl_ms, offsets[app]
            )
            for app, batches in groups.items()
        }

    def _append(
        self,
        app: str,
        batches: Sequence[Batch],
        precondition: StatePrecondition | None,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        offsets: Sequence[LogOffset] = (),
    ) -> AppendResult:
        now_ms = self._now_ms()
        state = self._state(app)
        is_stale = precondition is not None and precondition.expected_state != state
        outcomes = []
        length = 0
        for batch, offset in zip_longest(batches, offsets):
            is_replayed = (
                not is_stale and offset is not None and not self._advance_offset(app, offset)
            )
            token, expires_ms = self._ids.get((app, batch.id), (b"", 0.0))
            if batch.id and expires_ms > now_ms:
                is_own = token == batch.token
                outcomes.append(Outcome.OWN_RETRY if is_own else Outcome.DUPLICATE)
                continue
            if is_replayed:
                outcomes.append(Outcome.REPLAYED)
                continue
            if is_stale:
                outcomes.append(Outcome.STALE)
                continue
            length = self._push(app, None, batch.element, inbox_ttl_ms)
            if batch.id:
                self._ids[app, batch.id] = (batch.token, now_ms + id_ttl_ms)
            outcomes.append(Outcome.STORED)
        if precondition is not None and length and precondition.new_state:
            self._states[app] = (precondition.new_state, now_ms + inbox_ttl_ms)
        return AppendResult(outcomes, length, state if is_stale else b"")

    def _advance_offset(self, app: str, position: LogOffset) -> bool:
        """Record an offset; False if it was recorded before."""
        last = self._log_offsets.get((app, position.source))
        if last is not None and position.is_before(last):
            return False
        self._log_offsets[app, position.source] = position
        return True

    async def append_coalesced(
        self,
        elements: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        return {
            app: self._append_coalesced(app, group, preconditions.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, group in elements.items()
        }

    def _append_coalesced(
        self,
        app: str,
        group: CoalescedElement,
        precondition: StatePrecondition | None,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
    ) -> int:
        now_ms = self._now_ms()
        entries = (self._ids.get((app, batch_id), (b"", 0.0)) for batch_id in group.ids)
        if any(expires_ms > now_ms for _, expires_ms in entries):
            return 0
        if precondition is not None and precondition.expected_state != self._state(app):
            return 0
        for batch_id, token in zip(group.ids, group.tokens, strict=True):
            self._ids[app, batch_id] = (token, now_ms + id_ttl_ms)
        if precondition is not None and precondition.new_state:
            self._states[app] = (precondition.new_state, now_ms + inbox_ttl_ms)
        return self._push(app, None, group.element, inbox_ttl_ms)

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        return {app: state for app in apps if (state := self._state(app))}

    def _state(self, app: str) -> bytes:
        state, expires_ms = self._states.get(app, (b"", 0.0))
        return state if expires_ms > self._now_ms() else b""

    def _fold(self, app: str, fold: Fold) -> dict[Slot, int] | None:
        inbox = self._elements(app, None)
        if not _starts_with(inbox, fold.elements):
            return None
        del inbox[: len(fold.elements)]
        for start_s in fold.changed_hours:
            self._changed_hours[app, start_s] = last_header(fold.elements)
        return {
            write.slot: self._push(app, write.slot, write.element, write.ttl_ms)
            for write in fold.writes
        }

    async def changed_hours(self, apps: Sequence[str]) -> list[HourChange]:
        return [
            HourChange(app, start_s, mark)
            for (app, start_s), mark in self._changed_hours.items()
            if app in apps
        ]

    async def forget_changes(self, changes: Sequence[HourChange]) -> None:
        for app, start_s, mark in changes:
            if self._changed_hours.get((app, start_s)) == mark:
                del self._changed_hours[app, start_s]

    async def read_inboxes(
        self, apps: Sequence[str], count: int, bytes_max: int
    ) -> dict[str, list[bytes]]:
        inboxes = {app: self._first_elements(app, count, bytes_max) for app in apps}
        return {app: elements for app, elements in inboxes.items() if elements}

    def _first_elements(self, app: str, count: int, bytes_max: int) -> list[bytes]:
        elements: list[bytes] = []
        size = 0
        for element in self._elements(app, None)[:count]:
            if size >= bytes_max:
                break
            elements.append(element)
            size += len(element)
        return elements

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        return {app: self._fold(app, fold) for app, fold in folds.items()}

    def _compact(
        self, app: str, slot: Slot, elements: Sequence[bytes], replacement: bytes, ttl_ms: int
    ) -> bool:
        stored_elements = self._elements(app, slot)
        if not (elements and _starts_with(stored_elements, elements)):
            return False
        rest = stored_elements[len(elements) :]
        self._push(app, slot, replacement, ttl_ms)  # extends the TTL
        stored_elements[:] = [replacement, *rest]
        return True

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        lists = {slot: list(self._elements(app, slot)) for slot in slots}
        return Contents(
            list(self._elements(app, None)) if inbox else [],
            {slot: elements for slot, elements in lists.items() if elements},
        )

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        return [await self.read(app, slots) for app, slots in requests]

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        return [await self._read_part(app, slots, bytes_max) for app, slots in requests]

    async def _read_part(self, app: str, slots: Sequence[Slot], bytes_max: int) -> Part:
        count = size = 0
        for slot in slots:
            if size >= bytes_max and count:
                break
            size += sum(map(len, self._elements(app, slot)))
            count += 1
        return Part(await self.read(app, slots[:count]), count)

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        return list(apps)

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        return [self._compact(*compaction) for compaction in compactions]

    async def read_slots(self, slots: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        return [list(self._elements(app, slot)) for app, slot in slots]

    async def delete_slots(self, app: str, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._elements(app, slot).clear()

    async def remove_app(self, app: str, slots: Sequence[Slot], *, now_s: int, ttl_ms: int) -> None:
        self._removed_apps[app] = now_s
        for slot in (None, *slots):
            self._lists.pop((app, slot), None)
        self._states.pop(app, None)
        for key in [key for key in self._ids if key[0] == app]:
            del self._ids[key]
        for hour in [hour for hour in self._changed_hours if hour[0] == app]:
            del self._changed_hours[hour]
        self._remove_alerts(app)
        self._sightings.pop(app, None)

    async def removed_apps(self) -> dict[str, int]:
        return dict(self._removed_apps)

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        return {app: len(self._elements(app, None)) for app in apps}

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        self._expire_sightings()
        self._sightings_expire_ms = self._now_ms() + ttl_ms
        for sighting in apps:
            record = self._sightings.get(sighting.app, sighting)
            has_drain = record.origin.is_drain or sighting.origin.is_drain
            self._sightings[sighting.app] = SeenApp(
                sighting.app,
                min(record.first_seen_s, sighting.first_seen_s),
                max(record.last_seen_s, sighting.last_seen_s),
                max(record.runtime_metrics_s, sighting.runtime_metrics_s),
                DRAIN if has_drain else sighting.origin,
            )

    async def seen_apps(self) -> list[SeenApp]:
        self._expire_sightings()
        return [self._sightings[app] for app in sorted(self._sightings)]

    async def forget_apps(self, before_s: int) -> list[str]:
        self._expire_sightings()
        old = [app for app, sighting in self._sightings.items() if sighting.last_seen_s < before_s]
        for app in old:
            del self._sightings[app]
        return old

    async def compare_and_set_drain(self, app: str, old_record: str, new_record: str) -> bool:
        return _compare_and_set(self._drains, app, old_record, new_record)

    async def drains(self) -> dict[str, str]:
        return dict(self._drains)

    async def put_token(self, token_id: str, record: bytes) -> None:
        self._tokens[token_id] = record

    async def remove_token(self, token_id: str) -> bool:
        return self._tokens.pop(token_id, None) is not None

    async def tokens(self) -> dict[str, bytes]:
        return dict(self._tokens)

    async def write_status(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        self._statuses[name] = (dict(fields), self._now_ms() + ttl_ms)

    async def statuses(self) -> dict[str, dict[str, str]]:
        now_ms = self._now_ms()
        return {
            name: dict(fields)
            for name, (fields, expires_ms) in self._statuses.items()
            if expires_ms > now_ms
        }

    async def identity(self) -> StoreIdentity:
        return self._identity

    async def access_tables(self) -> AccessTables:
        return AccessTables(
            self._identity, await self.drains(), await self.tokens(), dict(self._notes)
        )

    async def compare_and_set_note(self, name: str, old_note: str, new_note: str) -> bool:
        return _compare_and_set(self._notes, name, old_note, new_note)

    async def problems(self) -> list[str]:
        return []

    async def warnings(self) -> list[str]:
        return []

    async def server_info(self) -> ServerInfo:
        return ServerInfo("memory of this process", 0, 0, "")

    async def close(self) -> None:
        return None

    def _now_ms(self) -> float:
        return self._clock() * 1000

    def _expire_sightings(self) -> None:
        if self._sightings_expire_ms <= self._now_ms():
            self._sightings.clear()

    def _elements(self, app: str, slot: Slot | None) -> list[bytes]:
        """The stored list itself, not a copy; an expired one is deleted first."""
        entry = self._lists.get((app, slot))
        if entry is not None and entry.expires_ms <= self._now_ms():
            del self._lists[app, slot]
            entry = None
        return entry.elements if entry is not None else []

    def _push(self, app: str, slot: Slot | None, element: bytes, ttl_ms: int) -> int:
        self._elements(app, slot)  # deletes an expired list
        entry = self._lists.setdefault((app, slot), _List())
        entry.elements.append(element)
        entry.expires_ms = max(entry.expires_ms, self._now_ms() + ttl_ms)
        return len(entry.elements)


def _compare_and_set(table: dict[str, str], name: str, old_value: str, new_value: str) -> bool:
    """Replace a value of a table if it still is `old_value`; "" stands for none."""
    if table.get(name, "") != old_value:
        return False
    if new_value:
        table[name] = new_value
    else:
        table.pop(name, None)
    return True


def _starts_with(elements: Sequence[bytes], prefix: Sequence[bytes]) -> bool:
    """Whether a list still starts with elements read earlier: only the last header can differ."""
    n = len(prefix)
    return len(elements) >= n and last_header(elements[:n]) == last_header(prefix)
