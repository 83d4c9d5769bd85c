"""One POST's batch on its way to the store, and its record format while it waits on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import msgspec

from app.access.drain_election import DrainClaim
from app.ingest.aggregator import (
    ActivityTimes,
    AggregatedBody,
    covering_range,
    pack_ledger_entry,
)
from app.rollup.accelerated import merge_rollups
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import DECODE_ERRORS, to_pack_error
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.rollup.time_range import ALWAYS, TimeRange
from app.storage.interface.batches import ID_BYTES, Batch
from app.storage.interface.elements import KIND_BATCH, new_element, random_bytes


def batch_id(frame_id: bytes) -> bytes:
    """The id by which the store deduplicates a batch: a digest of its Logplex-Frame-Id.

    A digest, so that no text of a client becomes part of a key. Without a Frame-Id the id is
    random: then only our own retries are recognized, not those of the sender.
    """
    return (
        blake2b(frame_id, digest_size=ID_BYTES).digest()
        if frame_id
        else random_bytes() + random_bytes()
    )


def new_batch(frame_id: bytes, data: bytes) -> Batch:
    """A batch to append, with a new token and header."""
    return Batch(batch_id(frame_id), random_bytes(), new_element(KIND_BATCH, data))


OnStored = Callable[[Sequence[tuple[str, ActivityTimes]]], Awaitable[None]]
"""Called with the apps whose batches the store has accepted, and their activity."""


class CoalescedPayload(msgspec.Struct, frozen=True, gc=False):
    """One or more POSTs of a drain, packed as one batch in which every line counts.

    `ids` and `tokens` belong to the POSTs, in the same order; the ids are all different. `data` is
    the packed batch.
    """

    claim: DrainClaim
    activity: ActivityTimes
    ids: Sequence[bytes]
    tokens: Sequence[bytes]
    data: bytes


class PendingWrite(Protocol):
    """One or more POSTs of an app to be stored: a ReceivedBatch or a CoalescedBatch."""

    @property
    def app(self) -> str:
        """The app's name."""
        ...

    @property
    def activity(self) -> ActivityTimes:
        """When the app was active, as shown by the lines."""
        ...

    @property
    def payload(self) -> CoalescedPayload | None:
        """The result of `coalesced` if it is ready; None otherwise."""
        ...

    async def coalesced(self) -> CoalescedPayload | None:
        """All POSTs as one element; None if they have to be split."""
        ...

    async def split(self) -> list[ReceivedBatch]:
        """Each POST as a batch of its own; repeated calls return the same batches."""
        ...


@dataclass(slots=True, eq=False)
class ReceivedBatch:
    """The aggregated lines of one POST.

    `token` is drawn once and kept through all our retries, also in the spool. It distinguishes a
    retry of ours from a second POST with the same Frame-Id.
    """

    app: str
    id: bytes
    body: AggregatedBody
    drain: str = ""  # Logplex-Drain-Token; a batch without one always counts
    generation: int = 1  # of the drain secret that authenticated the POST
    token: bytes = field(default_factory=random_bytes)
    _data_range: TimeRange = ALWAYS  # of the lines that count in `_data`
    _data: bytes = b""

    @property
    def activity(self) -> ActivityTimes:
        return self.body.activity

    @property
    def payload(self) -> None:
        return None

    async def coalesced(self) -> CoalescedPayload:
        data = self._pack_within(ALWAYS)
        return CoalescedPayload(self.claim, self.activity, (self.id,), (self.token,), data)

    async def split(self) -> list[ReceivedBatch]:
        return [self]

    @property
    def claim(self) -> DrainClaim:
        """The input of the drain election."""
        arrived_s = self.body.arrived_s
        lines = covering_range(self.body.rollups, arrived_s)
        return DrainClaim(self.drain, self.generation, lines, arrived_s)

    def build_attempt(self, within: TimeRange = ALWAYS) -> Batch:
        """Build the store's batch for one attempt to append; only lines `within` count.

        Each attempt has an element header of its own, because folding relies on that.
        """
        return Batch(self.id, self.token, new_element(KIND_BATCH, self._pack_within(within)))

    def _pack_within(self, within: TimeRange) -> bytes:
        if not self._data or self._data_range != within:
            self._data_range = within
            self._data = self.body.pack(within)
        return self._data

    def build_ledger_entry(self, name: str) -> Batch:
        """Build a batch that adds all messages to one entry of the ledger.

        Its id is derived from the token, so it counts once however often it is appended.
        """
        data = pack_ledger_entry(self.body.arrived_s, name, self.body.received)
        entry_id = blake2b(self.token, person=name.encode(), digest_size=ID_BYTES).digest()
        return Batch(entry_id, self.token, new_element(KIND_BATCH, data))


class _Record(msgspec.Struct, array_like=True):
    version: int
    app: str
    id: bytes
    token: bytes
    drain: str
    generation: int
    arrived_s: int
    activity: ActivityTimes
    rollups: bytes  # as in app.rollup.batch_codec
    ledgers: dict[int, dict[str, int]]
    body_ledger: dict[str, int]


_VERSION = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record, strict=True).decode


def pack_received(batch: ReceivedBatch, entry: str = "spooled") -> bytes:
    """Pack a batch that waits for the store, on disk or in a log.

    The record holds counts and names of dynos, but no text of a line.

    Args:
        entry: the ledger entry that records that the batch waited; "" for none.
    """
    body = batch.body
    wait_ledger = {entry: body.received} if entry else {}
    return _encode(
        _Record(
            _VERSION,
            batch.app,
            batch.id,
            batch.token,
            batch.drain,
            batch.generation,
            body.arrived_s,
            body.activity,
            body.pack_rollups(),
            body.ledgers,
            {**body.body_ledger, **wait_ledger},
        )
    )


def unpack_received(data: bytes, limits: CardinalityLimits = DEFAULT_LIMITS) -> ReceivedBatch:
    """Unpack a record of pack_received.

    Raises:
        PackError: the bytes are not such a record.
        NewerVersion: a newer Dynometer wrote it.
    """
    try:
        record = _decode(data)
    except DECODE_ERRORS as error:
        raise to_pack_error(data, error, _VERSION) from None
    if record.version != _VERSION:
        raise to_pack_error(data, ValueError("unknown version"), _VERSION)
    rollups = unpack_batch(record.rollups)
    for _, rollup in rollups:
        merge_rollups([rollup])  # it stays packed, which takes far less memory, but it can be read
    body = AggregatedBody(
        record.arrived_s,
        {**dict(rollups)},
        record.ledgers,
        record.body_ledger,
        record.activity,
        limits,
    )
    return ReceivedBatch(record.app, record.id, body, record.drain, record.generation, record.token)
