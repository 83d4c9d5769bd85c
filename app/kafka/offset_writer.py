"""Appends records from Kafka to the store, each once, together with its offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.ingest.batch_writer import BatchWriter
from app.ingest.received_batch import PendingWrite, ReceivedBatch
from app.storage.interface.batches import AppendResult, Batch, LogOffset, Outcome, StatePrecondition


class OffsetBatchWriter(BatchWriter):
    """A batch writer that stores the offset of each record in the same atomic step.

    A record at or below the stored offset of its app has no effect (BatchStore.append_from_log).
    """

    _offsets: Mapping[ReceivedBatch, LogOffset] = {}
    records_replayed = 0

    async def append_records(
        self, records: Sequence[tuple[LogOffset, ReceivedBatch]], *, deadline: float
    ) -> None:
        """Return when the store has all records. The records of an app must be in the order of
        their offsets.

        Raises:
            StoreUnavailable: the store may have some of them.
        """
        self._offsets = {batch: offset for offset, batch in records}
        await self.append([batch for _, batch in records], deadline=deadline)

    async def _append_coalesced(self, writes: Sequence[PendingWrite]) -> list[PendingWrite]:
        return list(writes)  # none is coalesced: each record has an offset of its own

    async def _append_groups(
        self,
        batches: Mapping[str, Sequence[ReceivedBatch]],
        groups: dict[str, list[Batch]],
        guards: dict[str, StatePrecondition],
    ) -> dict[str, AppendResult]:
        answers = await self._store.append_from_log(
            groups,
            {app: [self._offsets[batch] for batch in batches[app]] for app in groups},
            id_ttl_ms=self._id_ttl_ms,
            inbox_ttl_ms=self._inbox_ttl_ms,
            preconditions=guards,
        )
        for answer in answers.values():
            self.records_replayed += answer.outcomes.count(Outcome.REPLAYED)
        return answers

    def _is_unverified(self, arrived_s: int) -> bool:
        return False  # the offset detects a repetition, no matter how old the record is
