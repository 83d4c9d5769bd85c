"""Into the store, what was read from the log: each record once, at its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.ingest.batch_writer import BatchWriter
from app.ingest.received_batch import PendingWrite, ReceivedBatch
from app.storage.interface import AppendResult, Batch, LogOffset, Outcome, StatePrecondition


class OffsetBatchWriter(BatchWriter):
    """An Appender of arrivals that have places; see port.Store.append_from_log."""

    _places: Mapping[ReceivedBatch, LogOffset] = {}
    replayed = 0

    async def append_read(
        self, read: Sequence[tuple[LogOffset, ReceivedBatch]], *, deadline: float
    ) -> None:
        """Returns when all of them are stored, or were before. Of an app they are in the order of
        their offsets.

        Raises:
            StoreUnavailable: some of them may be stored, some not.
        """
        self._places = {arrival: place for place, arrival in read}
        await self.append([arrival for _, arrival in read], deadline=deadline)

    async def _append_bundles(self, waiting: Sequence[PendingWrite]) -> list[PendingWrite]:
        return list(waiting)

    async def _append_judged(
        self,
        arrivals: Mapping[str, Sequence[ReceivedBatch]],
        groups: dict[str, list[Batch]],
        guards: dict[str, StatePrecondition],
    ) -> dict[str, AppendResult]:
        answers = await self._store.append_from_log(
            groups,
            {app: [self._places[each] for each in arrivals[app]] for app in groups},
            id_ttl_ms=self._id_ttl_ms,
            inbox_ttl_ms=self._inbox_ttl_ms,
            preconditions=guards,
        )
        for answer in answers.values():
            self.replayed += answer.outcomes.count(Outcome.REPLAYED)
        return answers

    def _unverified(self, arrived_s: int) -> bool:
        """However long it lay in the log, its place tells whether it was stored."""
        return False
