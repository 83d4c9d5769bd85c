"""Appends batches to the store, each exactly once.

Theory of operation
-------------------
A POST must count once, although any reply on its way may be lost: the store's reply to us, or our
answer to the sender. Two values per POST make that possible:

    id      A digest of the app's Logplex-Frame-Id, or of request id and body
            (app.receivers.log_shuttle). A sender that repeats a batch repeats this id.
    token   Random bytes, drawn once when the POST arrives and kept as long as we hold the batch.

The store appends a batch and records (id, token) in one atomic step. If it knows the id already, it
appends nothing and compares the tokens:

    same token      This is our own retry after a lost reply. The batch is stored; nothing to do.
    another token   The sender sent the batch again. The POST is acknowledged, and its messages
                    are added to the `duplicate` entry of the ledger.

So a failed step is simply repeated with the same ids and tokens, immediately or after hours on
disk, by this process or by another one. Ledger entries are batches too: their ids are derived from
the token, so repeating them is just as harmless.

Coalesced POSTs are appended as one element with all their ids, also in one step. If the store knows
any of the ids, it changes nothing, and the POSTs are appended separately. The same happens if only
part of the lines counts. That is decided by the drain election, from the app's stored state. Each
append names the state on which its decision is based. If that state is out of date, the store
changes nothing, and the election is repeated with the present one.

While the store is unavailable, batches wait in the spool, with id and token. The store remembers
ids for 15 minutes longer than a batch may wait there (DYNOMETER_SPOOL_MAX_AGE). A batch that waited
longer may have been stored and its id forgotten: it is counted, and recorded as `unverified`.

Senders that give no id, and syslog, get a random one per POST. Our retries never count twice, but a
POST that such a sender repeats counts again: at least once.

A POST is answered 200 only when its batch is in the store or synced to disk. If neither accepts
it, the POST waits for up to DYNOMETER_COMMIT_WAIT (4 s) before it is answered 503. Logplex waits
5 s for an answer and makes its three attempts back to back, so a quick 503 would lose the batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from app.access.drain_election import (
    DrainClaim,
    DrainElection,
    elect_drain,
    is_settled,
    pack_state,
    unpack_state,
)
from app.ingest.received_batch import PendingWrite, ReceivedBatch
from app.rollup.time_range import ALWAYS, TimeRange
from app.storage.interface.batches import (
    AppendResult,
    Batch,
    BatchStore,
    CoalescedElement,
    Outcome,
    StatePrecondition,
)
from app.storage.interface.elements import KIND_BATCH, new_element
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import TimeLimits

log = logging.getLogger(__name__)

BYTES_PER_STEP = 4 * 1024  # of batches, packed in a step: some milliseconds if they name much
_TIMED_OUT = "The store did not answer in time. Check that it is running."


class BatchSink(Protocol):
    """Takes batches to durable storage: a BatchWriter, several of them, or a log such as Kafka."""

    @property
    def store_unavailable(self) -> bool:
        """Whether the last append failed."""
        ...

    @property
    def needs_single_batches(self) -> bool:
        """Whether POSTs should be kept separate instead of being coalesced."""
        ...

    @property
    def last_error(self) -> str:
        """Why the last append failed; "" if it succeeded."""
        ...

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """Append batches; returns when all of them are stored.

        Args:
            deadline: on the event loop's clock.
        Raises:
            StoreUnavailable: any of the batches may or may not be stored. Try again with the same
                batches.
        """
        ...


class _CachedState(NamedTuple):
    """An app's election state as the store had it last, and the precondition to keep it."""

    data: bytes
    election: DrainElection | None
    precondition: StatePrecondition


def _cached_state(data: bytes) -> _CachedState:
    return _CachedState(data, unpack_state(data), StatePrecondition(data, b""))


_NO_STATE = _cached_state(b"")


class BatchWriter:
    """Appends batches to one store, and knows whether that store is available."""

    def __init__(
        self,
        store: BatchStore,
        *,
        id_ttl_s: int,
        inbox_ttl_s: int,
        verified_s: float,
        clock: Callable[[], float],
        on_appended: Callable[[Mapping[str, int]], None],
    ) -> None:
        """
        Args:
            id_ttl_s: how long the store remembers the id of a batch.
            inbox_ttl_s: how long after its last append an inbox is kept if no worker folds it.
            verified_s: the age up to which a batch is certainly deduplicated. The id of an older
                batch may be forgotten, so it is counted and recorded as `unverified`.
            clock: Unix time in seconds.
            on_stored: called with the apps whose inboxes grew, and the new lengths.
        """
        self._store = store
        self._id_ttl_ms = id_ttl_s * 1000
        self._inbox_ttl_ms = inbox_ttl_s * 1000
        self._verified_s = verified_s
        self._clock = clock
        self._on_appended = on_appended
        self._states: dict[str, _CachedState] = {}
        self._time_limits = TimeLimits()
        self.unavailable_since_s = 0.0  # Unix time of the first failed append; 0 while available
        self.last_error = ""

    @property
    def store_unavailable(self) -> bool:
        return self.unavailable_since_s > 0

    @property
    def needs_single_batches(self) -> bool:
        # While the store is unavailable batches go to the spool, where each is a record of its own.
        return self.unavailable_since_s > 0

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        try:
            with self._time_limits.until(deadline):
                rest = await self._append_coalesced(writes)
                if rest:
                    await self._append_each(rest)
        except (StoreUnavailable, TimeoutError) as error:
            message = str(error) if isinstance(error, StoreUnavailable) else ""
            self.last_error = message or self.last_error or _TIMED_OUT
            if not self.store_unavailable:
                self.unavailable_since_s = self._clock()
                log.warning("%s", self.last_error)
            raise StoreUnavailable(self.last_error) from error
        if self.store_unavailable:
            outage_s = self._clock() - self.unavailable_since_s
            log.info("The store is available again after %.0f s", outage_s)
            self.last_error = ""
            self.unavailable_since_s = 0.0

    async def _append_each(self, writes: Sequence[PendingWrite]) -> None:
        """Append each POST as a batch of its own."""
        batches: list[ReceivedBatch] = []
        for write in writes:
            batches += await write.split()
        ledger_entries = await self._append_split(batches)
        if ledger_entries:
            self._report_lengths(await self._append(ledger_entries, {}))

    async def _append_split(self, batches: Sequence[ReceivedBatch]) -> dict[str, list[Batch]]:
        """Append batches one by one, until no cached state is out of date.

        Returns the ledger entries to append, by app.
        """
        pending: dict[str, list[ReceivedBatch]] = {}
        for batch in batches:
            pending.setdefault(batch.app, []).append(batch)
        ledger_entries: dict[str, list[Batch]] = {}
        while pending:
            groups: dict[str, list[Batch]] = {}
            guards: dict[str, StatePrecondition] = {}
            for app, group in pending.items():
                guard, ranges = self._elect(app, [batch.claim for batch in group])
                if guard is not None:
                    guards[app] = guard
                groups[app] = await _build_attempts(group, ranges)
            answers = await self._append_groups(pending, groups, guards)
            self._report_lengths(answers)
            for app, answer in answers.items():
                stale = []
                for batch, outcome in zip(pending[app], answer.outcomes, strict=True):
                    if outcome is Outcome.STALE:
                        stale.append(batch)
                    elif entry := self._ledger_entry(batch, outcome):
                        ledger_entries.setdefault(app, []).append(entry)
                if stale:
                    self._states[app] = _cached_state(answer.state)
                elif answer.inbox_length and app in guards and guards[app].new_state:
                    self._states[app] = _cached_state(guards[app].new_state)
                pending[app] = stale
            pending = {app: stale for app, stale in pending.items() if stale}
        return ledger_entries

    async def _append_coalesced(self, writes: Sequence[PendingWrite]) -> list[PendingWrite]:
        """Append the first write of each app as one element, where possible.

        Returns the writes that have to be split.
        """
        first = {write.app: write for write in reversed(writes)}
        verified_from_s = self._clock() - self._verified_s
        elements: dict[str, CoalescedElement] = {}
        guards: dict[str, StatePrecondition] = {}
        for app, write in first.items():
            payload = write.payload or await write.coalesced()
            if payload is None or payload.claim.arrived_s < verified_from_s:
                continue
            claim = payload.claim
            state = self._states.get(app, _NO_STATE)
            if state.election is not None and is_settled(state.election, claim):
                guards[app] = state.precondition
            else:
                guard, (within,) = self._elect(app, (claim,))
                if not within.covers(claim.lines):
                    continue
                if guard is not None:
                    guards[app] = guard
            element = new_element(KIND_BATCH, payload.data)
            elements[app] = CoalescedElement(payload.ids, payload.tokens, element)
        lengths = await self._store.append_coalesced(
            elements,
            id_ttl_ms=self._id_ttl_ms,
            inbox_ttl_ms=self._inbox_ttl_ms,
            preconditions=guards,
        )
        for app, guard in guards.items():
            if guard.new_state and lengths[app]:
                self._states[app] = _cached_state(guard.new_state)
        if len(lengths) == len(writes) and 0 not in lengths.values():
            self._on_appended(lengths)
            return []
        new_lengths = {app: length for app, length in lengths.items() if length}
        self._on_appended(new_lengths)
        return [
            write
            for write in writes
            if write.app not in new_lengths or first[write.app] is not write
        ]

    def _elect(
        self, app: str, claims: Sequence[DrainClaim]
    ) -> tuple[StatePrecondition | None, list[TimeRange]]:
        """Decide which lines of each batch count, from the cached election state.

        Returns the precondition under which that holds, and a range per claim. The precondition is
        None if no claim names its drain.
        """
        state = self._states.get(app, _NO_STATE)
        election = state.election
        ranges = []
        needs_guard = False
        for claim in claims:
            if claim.token:
                election, within = elect_drain(election, claim)
                ranges.append(within)
                needs_guard = True
            else:
                ranges.append(ALWAYS)
        if not needs_guard:
            return None, ranges
        if election is None or election is state.election:
            return state.precondition, ranges
        return StatePrecondition(state.data, pack_state(election)), ranges

    def _ledger_entry(self, batch: ReceivedBatch, outcome: Outcome) -> Batch | None:
        if outcome is Outcome.DUPLICATE:
            batch.body.is_duplicate = True
            return batch.build_ledger_entry("duplicate")
        is_unverified = self._is_unverified(batch.body.arrived_s)
        return batch.build_ledger_entry("unverified") if is_unverified else None

    def _is_unverified(self, arrived_s: int) -> bool:
        return self._clock() - arrived_s > self._verified_s

    async def _append_groups(
        self,
        batches: Mapping[str, Sequence[ReceivedBatch]],
        groups: dict[str, list[Batch]],
        guards: dict[str, StatePrecondition],
    ) -> dict[str, AppendResult]:
        """Append one attempt per batch; a writer for batches from a log overrides this."""
        return await self._append(groups, guards)

    async def _append(
        self, groups: dict[str, list[Batch]], guards: dict[str, StatePrecondition]
    ) -> dict[str, AppendResult]:
        return await self._store.append(
            groups, id_ttl_ms=self._id_ttl_ms, inbox_ttl_ms=self._inbox_ttl_ms, preconditions=guards
        )

    def _report_lengths(self, answers: dict[str, AppendResult]) -> None:
        lengths = {app: answer.inbox_length for app, answer in answers.items()}
        self._on_appended({app: length for app, length in lengths.items() if length})


async def _build_attempts(
    batches: Sequence[ReceivedBatch], ranges: Sequence[TimeRange]
) -> list[Batch]:
    """An attempt for each batch, of its lines in a range. Lets other tasks run meanwhile."""
    attempts: list[Batch] = []
    size = 0
    for batch, within in zip(batches, ranges, strict=True):
        attempts.append(batch.build_attempt(within))
        size += len(attempts[-1].element)
        if size >= BYTES_PER_STEP:
            size = 0
            await asyncio.sleep(0)
    return attempts
