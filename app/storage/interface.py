"""What Dynometer needs of a store: Redis, alone or as several, and memory.py keep this contract.

    inbox   per app, a list of *elements* (packed batches) that were committed and not yet folded
    slot    per app, resolution and interval: a list of elements (packed rollups) that a reader
    merges
    id      what makes a batch count once

An *element* is bytes: KIND (1) + HEADER_RANDOM_BYTES random bytes + data. The random bytes are
drawn for each attempt to push it, so none is pushed twice. A list grows at its end and loses at
its head, and what a server forgets (a failover, a crash) is the last it was told. So a fold or
compaction names of the n first elements the last one: as long as it is the n-th, all before it are
those that were read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from app.storage.alert_interface import AlertReader, AlertStore
from app.support.errors import UserError

ID_BYTES = 16
HEADER_RANDOM_BYTES = 8
HEADER_BYTES = 1 + HEADER_RANDOM_BYTES
KIND_BATCH = b"D"
KIND_ROLLUP = b"C"
KIND_UNREADABLE = b"U"

# The names of signs of life begin so: of who folds, and of who refused log-ins at the drain.
FOLDING = "fold:"
REFUSED = "refused:"


_drawn: list[bytes] = []  # random bytes, of which the system is asked for many at a time
os.register_at_fork(after_in_child=_drawn.clear)


def random_bytes() -> bytes:
    """HEADER_RANDOM_BYTES of them."""
    if not _drawn:
        pool, size = os.urandom(256 * HEADER_RANDOM_BYTES), HEADER_RANDOM_BYTES
        _drawn.extend([pool[at : at + size] for at in range(0, len(pool), size)])
    return _drawn.pop()


def new_element(kind: bytes, data: bytes) -> bytes:
    """An element with a header of its own."""
    return kind + random_bytes() + data


def last_header(elements: Sequence[bytes]) -> bytes:
    """The header of the last of these elements; b"" of none."""
    return elements[-1][:HEADER_BYTES] if elements else b""


class StoreError(UserError):
    """The store did not do what it was asked; the message says what to do about it."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or refuses (out of memory, read-only, loading, …). Whether the
    last write took place is unknown: repeat it with the same ids and tokens."""


class Slot(NamedTuple):
    """One interval at one resolution ("1m", "10m", "1h", "total"); `start` in Unix seconds,
    aligned; 0 for the total.
    """

    resolution: str
    start: int


TOTAL = Slot("total", 0)
UNREADABLE = Slot("unreadable", 0)


class Batch(NamedTuple):
    """A batch to append: `id` (ID_BYTES bytes, or b"" for none), `token` of this POST, element."""

    id: bytes
    token: bytes
    element: bytes


class LogOffset(NamedTuple):
    """Where in a log a batch stands. Of an app the batches of one source come in the order of their
    offsets, and no two have the same.
    """

    source: str
    offset: int


class CoalescedElement(msgspec.Struct, frozen=True, gc=False):
    """Several batches of an app, their lines added up in one element: the ids, all different, and
    the tokens of the POSTs, of HEADER_RANDOM_BYTES each.
    """

    ids: Sequence[bytes]
    tokens: Sequence[bytes]
    element: bytes


class Outcome(IntEnum):
    """What became of a batch."""

    STORED = 0
    OWN_RETRY = 1  # its id was known with the same token: our own repetition; it is stored once
    DUPLICATE = 2  # its id was known with another token: nothing was changed
    STALE = 3  # the app's state is not the one expected: nothing was changed
    REPLAYED = 4  # what stood at its place in the log was appended before: nothing was changed


class StatePrecondition(msgspec.Struct, frozen=True, gc=False):
    """Append an app's batches only if its state (which drain counts, see active_drain) is
    `expected`, b"" for none; it becomes `new`, unless that is b"".
    """

    expected: bytes
    new: bytes


class Appended(NamedTuple):
    """`outcomes` in the order of the batches; how many elements the inbox holds now (0 if nothing
    was pushed); and the app's state, if it was not the expected one.
    """

    outcomes: list[Outcome]
    inbox_length: int
    state: bytes = b""


NO_GUARDS: Mapping[str, StatePrecondition] = MappingProxyType({})


class SlotWrite(msgspec.Struct, frozen=True, gc=False):
    """An element to add to a slot, and for how long from now the slot must live at the least."""

    slot: Slot
    element: bytes
    ttl_ms: int


class Fold(msgspec.Struct, frozen=True, gc=False):
    """The elements to take off the head of an inbox, and what to add to slots for them."""

    folded: Sequence[bytes]
    writes: Sequence[SlotWrite]


class Compaction(NamedTuple):
    """The oldest elements of a slot, their merge, and how long that must live at the least."""

    app: str
    slot: Slot
    merged: Sequence[bytes]
    element: bytes
    ttl_ms: int


class Contents(NamedTuple):
    """What was read of one app at one instant: the inbox, and the slots that are not empty."""

    inbox: list[bytes]
    slots: dict[Slot, list[bytes]]


class SeenApp(NamedTuple):
    """An app we have data of. Times in Unix seconds; `runtime_metrics_s` 0 for never."""

    app: str
    first_seen_s: int
    last_seen_s: int
    runtime_metrics_s: int


class ServerInfo(NamedTuple):
    """About the server: `bytes_max` is 0 for no limit; `persistence` says in words how it keeps
    data over a restart, "" for not at all; `time_s` is its clock, Unix time, 0 where it does not
    tell.
    """

    server: str
    bytes_used: int
    bytes_max: int
    persistence: str
    time_s: float = 0.0


class Reader(AlertReader, Protocol):
    """What answers need. All methods raise StoreUnavailable when the store is away or refuses."""

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        """The inbox (unless not wanted) and these slots, at one instant."""
        ...

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        """The inbox and these slots of each app, of each at one instant, in one round trip."""
        ...

    async def seen_apps(self) -> list[SeenApp]:
        """Every app we know of, by name."""
        ...

    async def reachable(self, apps: Sequence[str]) -> list[str]:
        """Those of these apps whose server answers, where apps lie on several."""
        ...

    async def drains(self) -> dict[str, str]:
        """The record of the drain (see app.access.drain_secrets), by app."""
        ...

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        """The state of each of these apps that has one."""
        ...

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        """The signs of life that have not expired, by name."""
        ...


class Store(Reader, AlertStore, Protocol):
    """All methods raise StoreUnavailable when the store is away or refuses."""

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        """Push each app's batches onto its inbox, each once per id and those of a guarded app only
        if its state is as expected; atomic per app, one round trip for all. The state lives as
        long as the inbox.
        """
        ...

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        places: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, Appended]:
        """The same of batches that are read from a log, each at its place. In the same step the
        place is taken down, so that what is read again changes nothing, also when its id has long
        been forgotten. Places live as long as the inbox.
        """
        ...

    async def append_bundles(
        self,
        bundles: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, StatePrecondition] = NO_GUARDS,
    ) -> dict[str, int]:
        """Push each app's bundle onto its inbox if none of its ids is known and, where it is
        guarded, its state is as expected; then all its ids are. Atomic per app, one round trip.

        Returns how many elements each inbox holds now, 0 where nothing was changed: `append` its
        batches one by one, then, and learn why.
        """
        ...

    async def read_inbox(self, app: str, count: int) -> list[bytes]:
        """The oldest `count` elements of the inbox."""
        ...

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """The same of each of these apps that has any, in one round trip."""
        ...

    async def fold(
        self, app: str, folded: Sequence[bytes], writes: Sequence[SlotWrite]
    ) -> dict[Slot, int] | None:
        """Take the elements `folded` off the head of the inbox and add `writes` to their slots, in
        one atomic step.

        Returns how many elements each written slot holds now; None when the inbox no longer begins
        with `folded` (another folder was quicker): then nothing was changed. Several writes may
        name one slot.
        """
        ...

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        """The same for each app, each for itself, in one round trip."""
        ...

    async def compact(
        self, app: str, slot: Slot, merged: Sequence[bytes], element: bytes, ttl_ms: int
    ) -> bool:
        """Replace the elements `merged`, the oldest of the slot, by `element`; False when they are
        no longer there.
        """
        ...

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        """The same of several slots, each for itself, in one round trip."""
        ...

    async def read_slots(self, asked: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        """The elements of slots of any apps, in one round trip."""
        ...

    async def drop(self, app: str, slots: Sequence[Slot]) -> None:
        """Forget these slots."""
        ...

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        """How many elements wait to be folded, by app."""
        ...

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        """Record when apps were seen: first_seen_s only moves back, the other times only
        forward.
        """
        ...

    async def forget_apps(self, before_s: int) -> list[str]:
        """Drop apps last seen before `before_s` from the list; returns their names."""
        ...

    async def swap_drain(self, app: str, before: str, after: str) -> bool:
        """Replace the record of an app's drain by another; "" stands for none. False when the
        record is not `before` any more: then nothing was changed. Kept until removed.
        """
        ...

    async def put_token(self, token_id: str, record: bytes) -> None:
        """Keep a read token's record, until it is removed."""
        ...

    async def remove_token(self, token_id: str) -> bool:
        """Forget a read token; False when there was none."""
        ...

    async def tokens(self) -> dict[str, bytes]:
        """Record of each read token, by its id."""
        ...

    async def heartbeat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        """Leave a sign of life of a background worker, replacing its last one."""
        ...

    async def check(self) -> list[str]:
        """Problems that make this store unfit, each a sentence that says what to do; empty when it
        is fit.
        """
        ...

    async def warnings(self) -> list[str]:
        """What the operator should see to although the store is fit, each a sentence."""
        ...

    async def server_info(self) -> ServerInfo:
        """What the operator should know about the server."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A store of several parts, each of which may be away by itself."""

    def shard_of(self, app: str) -> Hashable:
        """The part that an app lies on now."""
        ...

    def shards(self) -> Collection[Hashable]:
        """All of them."""
        ...

    async def refuse_unsupported_data(self) -> None:
        """Refuse a store whose data this version cannot read.

        Raises:
            StoreError: says what it holds and what to do.
            StoreUnavailable: this could not be read now.
        """
        ...
