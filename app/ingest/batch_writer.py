"""One step into the store: what arrived is appended, each POST once, in the form its drain's state
asks for, and what is to be said about it is noted in the ledger.

Doing a step again changes nothing: ids and tokens stay the same. So a step that failed half-way is
simply repeated, at once or after hours on disk.

POSTs that were added up (app.ingest.coalesced_batch) go as one element where
nothing is unusual about them. Where
the store then says that there is, it has changed nothing, and they are appended one by one.
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
    pack_state,
    unpack_state,
)
from app.ingest.received_batch import PendingWrite, ReceivedBatch
from app.rollup.time_range import ALWAYS, TimeRange
from app.storage import interface as port
from app.storage.interface import (
    KIND_BATCH,
    AppendResult,
    Batch,
    Outcome,
    StatePrecondition,
    Store,
    StoreUnavailable,
    new_element,
)

log = logging.getLogger(__name__)

_NO_ANSWER = "the store did not answer in time: check that it is running"


class BatchSink(Protocol):
    """What takes arrivals to where they are safe: an Appender, or several of them."""

    @property
    def store_unavailable(self) -> bool:
        """Whether the store refused the last step."""
        ...

    @property
    def needs_single_batches(self) -> bool:
        """Whether POSTs are wanted one by one, not added up."""
        ...

    @property
    def last_error(self) -> str:
        """Why it refused last; "" when it did not."""
        ...

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """See Appender.append."""
        ...


class _Known(NamedTuple):
    """An app's state, packed and not, and the guard under which it stays."""

    packed: bytes
    state: DrainElection | None
    unchanged: StatePrecondition


def _known(packed: bytes) -> _Known:
    return _Known(packed, unpack_state(packed), StatePrecondition(packed, b""))


_UNKNOWN = _known(b"")


class BatchWriter:
    """Appends arrivals, and knows whether the store takes any."""

    def __init__(
        self,
        store: Store,
        *,
        id_ttl_s: int,
        inbox_ttl_s: int,
        verified_s: float,
        clock: Callable[[], float],
        on_stored: Callable[[Mapping[str, int]], None],
    ) -> None:
        """
        Args:
            id_ttl_s: how long a batch is recognised when it comes again.
            inbox_ttl_s: how long after the last append an inbox that nobody folds is kept.
            verified_s: an arrival that is older was perhaps stored and forgotten since: it is
                appended, and noted as unverified.
            clock: Unix time in seconds.
            on_stored: told which apps' inboxes grew, and their lengths.
        """
        self._store = store
        self._id_ttl_ms = id_ttl_s * 1000
        self._inbox_ttl_ms = inbox_ttl_s * 1000
        self._verified_s = verified_s
        self._clock = clock
        self._on_stored = on_stored
        self._states: dict[str, _Known] = {}  # as the store had them last
        self.away_since_s = 0.0  # when the store began to refuse; 0 while it does not
        self.last_error = ""  # why it refused last; "" when it did not

    @property
    def store_unavailable(self) -> bool:
        """Whether the store refused the last step."""
        return self.away_since_s > 0

    @property
    def needs_single_batches(self) -> bool:
        """See Appends: what goes to the spool does so one by one."""
        return self.away_since_s > 0

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """Returns when all of them are stored, or were before.

        Args:
            deadline: on the event loop's clock.
        Raises:
            StoreUnavailable: some of them may be stored, some not.
        """
        try:
            async with asyncio.timeout_at(deadline):
                arrivals: list[ReceivedBatch] = []
                for each in await self._append_bundles(writes):
                    arrivals += await each.split()
                notes = await self._append_all(arrivals)
                if notes:
                    self._stored(await self._append(notes, {}))
        except (StoreUnavailable, TimeoutError) as refusal:
            said = str(refusal) if isinstance(refusal, StoreUnavailable) else ""
            self.last_error = said or self.last_error or _NO_ANSWER
            if not self.store_unavailable:
                self.away_since_s = self._clock()
                log.warning("%s", self.last_error)
            raise StoreUnavailable(self.last_error) from refusal
        if self.store_unavailable:
            log.info("the store is back after %.0f s", self._clock() - self.away_since_s)
        self.last_error = ""
        self.away_since_s = 0.0

    async def _append_all(self, arrivals: Sequence[ReceivedBatch]) -> dict[str, list[Batch]]:
        """Append until no state is stale; returns the notes to be made."""
        waiting: dict[str, list[ReceivedBatch]] = {}
        for arrival in arrivals:
            waiting.setdefault(arrival.app, []).append(arrival)
        notes: dict[str, list[Batch]] = {}
        while waiting:
            groups: dict[str, list[Batch]] = {}
            guards: dict[str, StatePrecondition] = {}
            for app, group in waiting.items():
                ids = [arrival.id for arrival in group]
                guard, spans = self._judged(app, ids, [arrival.claim for arrival in group])
                if guard is not None:
                    guards[app] = guard
                groups[app] = [
                    arrival.batch(span) for arrival, span in zip(group, spans, strict=True)
                ]
            answers = await self._append_judged(waiting, groups, guards)
            self._stored(answers)
            for app, answer in answers.items():
                stale = []
                for arrival, outcome in zip(waiting[app], answer.outcomes, strict=True):
                    if outcome is Outcome.STALE:
                        stale.append(arrival)
                    elif note := self._note(arrival, outcome):
                        notes.setdefault(app, []).append(note)
                if stale:
                    self._states[app] = _known(answer.state)
                elif answer.inbox_length and app in guards and guards[app].new_state:
                    self._states[app] = _known(guards[app].new_state)
                waiting[app] = stale
            waiting = {app: stale for app, stale in waiting.items() if stale}
        return notes

    async def _append_bundles(self, waiting: Sequence[PendingWrite]) -> list[PendingWrite]:
        """Append what can go as one element, of each app the first; returns what is left."""
        first = {each.app: each for each in reversed(waiting)}
        verified_from_s = self._clock() - self._verified_s
        bundles: dict[str, port.CoalescedElement] = {}
        guards: dict[str, StatePrecondition] = {}
        for app, each in first.items():
            whole = each.coalesced()
            if whole is None or whole.claim.arrived_s < verified_from_s:
                continue
            guard, (span,) = self._judged(app, whole.ids, (whole.claim,))
            if not span.covers(whole.claim.lines):
                continue
            if guard is not None:
                guards[app] = guard
            element = new_element(KIND_BATCH, whole.packed)
            bundles[app] = port.CoalescedElement(whole.ids, whole.tokens, element)
        lengths = await self._store.append_coalesced(
            bundles,
            id_ttl_ms=self._id_ttl_ms,
            inbox_ttl_ms=self._inbox_ttl_ms,
            preconditions=guards,
        )
        stored = {app: length for app, length in lengths.items() if length}
        self._on_stored(stored)
        for app, guard in guards.items():
            if guard.new_state and app in stored:
                self._states[app] = _known(guard.new_state)
        if len(stored) == len(waiting):
            return []
        return [each for each in waiting if each.app not in stored or first[each.app] is not each]

    def _judged(
        self,
        app: str,
        ids: Sequence[bytes],  # see PartAppender
        claims: Sequence[DrainClaim],
    ) -> tuple[StatePrecondition | None, list[TimeRange]]:
        """Which lines of each count, and the state that this follows from and leads to; None when
        none of them names its drain.
        """
        known = self._states.get(app, _UNKNOWN)
        after = known.state
        spans = []
        guarded = False
        for claim in claims:
            if claim.token:
                after, span = elect_drain(after, claim)
                spans.append(span)
                guarded = True
            else:
                spans.append(ALWAYS)
        if not guarded:
            return None, spans
        if after is None or after is known.state:
            return known.unchanged, spans
        return StatePrecondition(known.packed, pack_state(after)), spans

    def _note(self, arrival: ReceivedBatch, outcome: Outcome) -> Batch | None:
        if outcome is Outcome.DUPLICATE:
            return arrival.note("duplicate")
        late = self._unverified(arrival.body.arrived_s)
        return arrival.note("unverified") if late else None

    def _unverified(self, arrived_s: int) -> bool:
        return self._clock() - arrived_s > self._verified_s

    async def _append_judged(
        self,
        arrivals: Mapping[str, Sequence[ReceivedBatch]],
        groups: dict[str, list[Batch]],
        guards: dict[str, StatePrecondition],
    ) -> dict[str, AppendResult]:
        """Append what each of the arrivals comes to."""
        return await self._append(groups, guards)

    async def _append(
        self, groups: dict[str, list[Batch]], guards: dict[str, StatePrecondition]
    ) -> dict[str, AppendResult]:
        return await self._store.append(
            groups, id_ttl_ms=self._id_ttl_ms, inbox_ttl_ms=self._inbox_ttl_ms, preconditions=guards
        )

    def _stored(self, answers: dict[str, AppendResult]) -> None:
        lengths = {app: answer.inbox_length for app, answer in answers.items()}
        self._on_stored({app: length for app, length in lengths.items() if length})
