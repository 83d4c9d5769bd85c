"""What one POST brought, on its way to the store: now, or after some time on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import msgspec

from app.access.drain_election import DrainClaim
from app.ingest.aggregator import ActivityTimes, AggregatedBody, pack_note, touched
from app.rollup.accelerated import merge_rollups, pack_batch
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import DECODE_ERRORS, to_pack_error
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.rollup.time_range import ALWAYS, TimeRange
from app.storage.interface import (
    ID_BYTES,
    KIND_BATCH,
    Batch,
    new_element,
    random_bytes,
)


def batch_id(frame_id: bytes) -> bytes:
    """What a batch is remembered by: a digest, so that no text of a client becomes a key. Without
    a Frame-Id a random one: it tells our own repetitions, not those of the sender.
    """
    return (
        blake2b(frame_id, digest_size=ID_BYTES).digest()
        if frame_id
        else random_bytes() + random_bytes()
    )


def new_batch(frame_id: bytes, packed: bytes) -> Batch:
    """A batch to append, with a token and header of its own."""
    return Batch(batch_id(frame_id), random_bytes(), new_element(KIND_BATCH, packed))


OnStored = Callable[[Sequence[tuple[str, ActivityTimes]]], Awaitable[None]]
"""Told what the store has taken: of which apps, and when it says that they lived."""


class CoalescedPayload(msgspec.Struct, frozen=True, gc=False):
    """All that POSTs of an app brought, every line counted, as one batch, `packed`: what it says
    about its drain and about when the app lived; the ids of the POSTs, all different; their tokens.
    """

    claim: DrainClaim
    activity: ActivityTimes
    ids: Sequence[bytes]
    tokens: Sequence[bytes]
    packed: bytes


class PendingWrite(Protocol):
    """What one or more POSTs of an app brought: an Arrival, or a bundle.Bundle of them."""

    @property
    def app(self) -> str:
        """Whose it is."""
        ...

    @property
    def activity(self) -> ActivityTimes:
        """When it says that the app lived."""
        ...

    def coalesced(self) -> CoalescedPayload | None:
        """All of it as one; None when it has to be taken apart."""
        ...

    async def split(self) -> list[ReceivedBatch]:
        """Each POST by itself; always the same."""
        ...


@dataclass(slots=True, eq=False)
class ReceivedBatch:
    """The lines of one POST, counted up.

    `token` is drawn once and kept through every repetition of ours, also over a stay on disk: by it
    a repetition is told from a second POST with the same Frame-Id.
    """

    app: str
    id: bytes
    body: AggregatedBody
    drain: str = ""  # Logplex-Drain-Token; "" for none, then it always counts
    generation: int = 1  # of the secret that it came with
    token: bytes = field(default_factory=random_bytes)
    _span: TimeRange = ALWAYS
    _packed: bytes = b""

    @property
    def activity(self) -> ActivityTimes:
        """See Brought."""
        return self.body.activity

    def coalesced(self) -> CoalescedPayload:
        """See Brought."""
        packed = self._packed_within(ALWAYS)
        return CoalescedPayload(self.claim, self.activity, (self.id,), (self.token,), packed)

    async def split(self) -> list[ReceivedBatch]:
        """See Brought."""
        return [self]

    @property
    def claim(self) -> DrainClaim:
        """What it says about its drain."""
        arrived_s = self.body.arrived_s
        lines = touched(self.body.rollups, arrived_s)
        return DrainClaim(self.drain, self.generation, lines, arrived_s)

    def batch(self, within: TimeRange = ALWAYS) -> Batch:
        """What to append when only the lines `within` count, for one attempt."""
        return Batch(self.id, self.token, new_element(KIND_BATCH, self._packed_within(within)))

    def _packed_within(self, within: TimeRange) -> bytes:
        if not self._packed or self._span != within:
            self._span = within
            self._packed = self.body.packed(within)
        return self._packed

    def note(self, name: str) -> Batch:
        """A batch that adds all its messages to one line of the ledger; however often it is
        appended, it counts once.
        """
        packed = pack_note(self.body.arrived_s, name, self.body.received)
        own = blake2b(self.token, person=name.encode(), digest_size=ID_BYTES).digest()
        return Batch(own, self.token, new_element(KIND_BATCH, packed))


class _Record(msgspec.Struct, array_like=True):
    version: int
    app: str
    id: bytes
    token: bytes
    drain: str
    generation: int
    arrived_s: int
    seen: ActivityTimes
    rollups: bytes  # as in app.rollup.batch_codec
    ledgers: dict[int, dict[str, int]]
    loose: dict[str, int]


_VERSION = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record, strict=True).decode


def pack_received(arrival: ReceivedBatch, waited: str = "spooled") -> bytes:
    """An arrival as it waits for the store, on disk or in a log: counts and names of dynos, no text
    of a line.

    Args:
        waited: the line of the ledger that says so; "" for none.
    """
    parts = arrival.body
    noted = {waited: parts.received} if waited else {}
    return _encode(
        _Record(
            _VERSION,
            arrival.app,
            arrival.id,
            arrival.token,
            arrival.drain,
            arrival.generation,
            parts.arrived_s,
            parts.activity,
            pack_batch(parts.rollups, parts.limits),
            parts.ledgers,
            {**parts.loose, **noted},
        )
    )


def unpack_received(data: bytes, limits: CardinalityLimits = DEFAULT_LIMITS) -> ReceivedBatch:
    """
    Raises:
        PackError: these bytes are no arrival.
        NewerVersion: a newer Dynometer wrote them.
    """
    try:
        record = _decode(data)
    except DECODE_ERRORS as error:
        raise to_pack_error(data, error, _VERSION) from None
    if record.version != _VERSION:
        raise to_pack_error(data, ValueError("unknown version"), _VERSION)
    parts = AggregatedBody(
        record.arrived_s,
        {minute: merge_rollups([packed]) for minute, packed in unpack_batch(record.rollups)},
        record.ledgers,
        record.loose,
        record.seen,
        limits,
    )
    return ReceivedBatch(
        record.app, record.id, parts, record.drain, record.generation, record.token
    )
