"""The contract between Dynometer and its store. Every adapter in app.storage keeps it.

Per app, the store holds:

    inbox   a list of elements: packed batches that were appended and not yet folded
    slot    a list of elements per resolution and interval: packed rollups that readers merge
    id      identifies a batch, so that it counts once however often it is sent
    state   which of the app's drains counts (app.access.drain_election); opaque bytes here

An *element* is bytes: KIND (1 byte), HEADER_RANDOM_BYTES random bytes, data. The first two are its
header. A new header is drawn for each attempt to push an element, so no header occurs twice in a
list. Lists grow at the end and shrink at the head. A server that loses data (in a failover or a
crash) loses the latest writes.

Folds and compactions rely on this. To prove that the first n elements of a list are still the ones
that were read, they compare the header of the n-th element only. While it is in its place, so are
all elements before it.

Unless a method says otherwise:

- times are Unix seconds (`_s`), durations milliseconds (`_ms`);
- every method may raise StoreUnavailable. A write may then have taken place or not; repeat it
  with the same ids and tokens;
- a TTL counts from now. A list's TTL is never shortened, and adapters may extend it only once a
  minute, so a list may expire up to a minute early;
- a returned list follows the order of the arguments.
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

# Prefixes of heartbeat names: of workers that fold, and of workers that rejected logins.
FOLD_HEARTBEAT_PREFIX = "fold:"
REJECTED_LOGINS_PREFIX = "refused:"


# Random bytes are fetched from the system 256 headers at a time. A child process must not draw the
# headers that its parent will draw.
_random_pool: list[bytes] = []
os.register_at_fork(after_in_child=_random_pool.clear)


def random_bytes() -> bytes:
    """HEADER_RANDOM_BYTES random bytes: for the header of an element or the token of a POST."""
    if not _random_pool:
        pool, size = os.urandom(256 * HEADER_RANDOM_BYTES), HEADER_RANDOM_BYTES
        _random_pool.extend([pool[offset : offset + size] for offset in range(0, len(pool), size)])
    return _random_pool.pop()


def new_element(kind: bytes, data: bytes) -> bytes:
    """An element of this data with a new header."""
    return kind + random_bytes() + data


def last_header(elements: Sequence[bytes]) -> bytes:
    """The header of the last element; b"" if there is none."""
    return elements[-1][:HEADER_BYTES] if elements else b""


class StoreError(UserError):
    """The store could not carry out a request; the message contains the fix."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or rejects commands (out of memory, read-only, loading, …).

    Whether the last write took place is unknown: repeat it with the same ids and tokens.
    """


class Slot(NamedTuple):
    """One interval of one resolution.

    Attributes:
        resolution: "1m", "10m", "1h" or "total"; "unreadable" for damaged batches.
        start: Unix seconds, aligned to the resolution; 0 for the last two.
    """

    resolution: str
    start: int


TOTAL = Slot("total", 0)
UNREADABLE = Slot("unreadable", 0)


class Batch(NamedTuple):
    """A batch to append.

    Attributes:
        id: ID_BYTES bytes; b"" if the sender gave none, and then duplicates are not detected.
        token: HEADER_RANDOM_BYTES bytes that identify the POST. They tell our own retry of a write
            from a sender's repetition.
        element: the packed batch.
    """

    id: bytes
    token: bytes
    element: bytes


class LogOffset(NamedTuple):
    """The position of a batch in a log.

    The batches of one app and source come in the order of their offsets, and no two share one.
    """

    source: str
    offset: int


class CoalescedElement(msgspec.Struct, frozen=True, gc=False):
    """Several batches of one app, merged into one element.

    Attributes:
        ids: of the batches, ID_BYTES bytes each, all different.
        tokens: of their POSTs, in the same order, HEADER_RANDOM_BYTES bytes each.
        element: the packed merge of the batches.
    """

    ids: Sequence[bytes]
    tokens: Sequence[bytes]
    element: bytes


class Outcome(IntEnum):
    """The result of appending one batch. All but STORED leave the inbox as it was."""

    STORED = 0
    OWN_RETRY = 1  # the id was known with the same token: our own repetition, stored before
    DUPLICATE = 2  # the id was known with another token: the sender's repetition
    STALE = 3  # the app's state is not the expected one
    REPLAYED = 4  # the batch at this offset of the log was appended before


class StatePrecondition(msgspec.Struct, frozen=True, gc=False):
    """Append an app's batches only while the app is in the expected state, then change the state.

    Attributes:
        expected_state: b"" for an app that has none.
        new_state: b"" to leave the state as it is.
    """

    expected_state: bytes
    new_state: bytes


class AppendResult(NamedTuple):
    """The result of appending the batches of one app.

    Attributes:
        outcomes: one for each batch, in their order.
        inbox_length: elements in the inbox afterwards; 0 if nothing was pushed.
        state: the app's state if it is not the expected one, else b"".
    """

    outcomes: list[Outcome]
    inbox_length: int
    state: bytes = b""


NO_PRECONDITIONS: Mapping[str, StatePrecondition] = MappingProxyType({})


class SlotWrite(msgspec.Struct, frozen=True, gc=False):
    """An element to append to a slot, which then lives for at least `ttl_ms` from now."""

    slot: Slot
    element: bytes
    ttl_ms: int


class Fold(msgspec.Struct, frozen=True, gc=False):
    """The move of an inbox's oldest elements into slots.

    Attributes:
        elements: to remove from the head of the inbox, as they were read.
        writes: the rollups to append in their place. Several may name the same slot.
    """

    elements: Sequence[bytes]
    writes: Sequence[SlotWrite]


class Compaction(NamedTuple):
    """The replacement of a slot's oldest elements by their merge.

    Attributes:
        elements: to replace, the oldest of the slot, as they were read.
        replacement: the element with their merge.
        ttl_ms: how long the slot then lives at least.
    """

    app: str
    slot: Slot
    elements: Sequence[bytes]
    replacement: bytes
    ttl_ms: int


class Contents(NamedTuple):
    """Elements of one app, read at one instant, oldest first.

    Attributes:
        inbox: of the inbox; empty if it was not asked for.
        slots: by slot. Empty slots are left out.
    """

    inbox: list[bytes]
    slots: dict[Slot, list[bytes]]


class SeenApp(NamedTuple):
    """An app that sent data. Times in Unix seconds; `runtime_metrics_s` is 0 for never."""

    app: str
    first_seen_s: int
    last_seen_s: int
    runtime_metrics_s: int


class ServerInfo(NamedTuple):
    """The store's server, for the operator.

    Attributes:
        server: name and version.
        bytes_used: memory in use.
        bytes_max: its limit; 0 for none.
        persistence: how data survives a restart, in words; "" if it does not.
        time_s: the server's clock in Unix seconds; 0 if unknown.
    """

    server: str
    bytes_used: int
    bytes_max: int
    persistence: str
    time_s: float = 0.0


class Reader(AlertReader, Protocol):
    """The read access that queries and pages need."""

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        """Read these slots and, if `inbox`, the inbox of an app at one instant.

        An increment that is being folded appears either in the inbox or in the slots.
        """
        ...

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        """Read the inbox and these slots of several apps in one round trip.

        Each app is read at one instant, but not all apps at the same one.

        Args:
            requests: (app, its slots). Several may name the same app.
        Returns:
            The contents for each request.
        """
        ...

    async def seen_apps(self) -> list[SeenApp]:
        """Every app that has sent data and was not forgotten, sorted by name."""
        ...

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        """Those of these apps whose shard responds now; all of them if there is only one shard."""
        ...

    async def drains(self) -> dict[str, str]:
        """The drain records (app.access.drain_secrets) by app."""
        ...

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        """The state of each of these apps that has one."""
        ...

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        """The fields of each heartbeat that has not expired, by name."""
        ...


class Store(Reader, AlertStore, Protocol):
    """Full access to the store, for everything that writes."""

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        """Append batches to the inboxes of their apps, each id once, in one round trip.

        Atomic for each app, not across apps. An id that is already known wins over a stale state:
        such a batch is OWN_RETRY or DUPLICATE, not STALE.

        Args:
            groups: the batches by app.
            id_ttl_ms: how long an id is remembered at least; about twice as long at most.
            inbox_ttl_ms: how long the inbox lives at least, and the state if it is set.
            preconditions: by app. Without one, batches are appended in any state.
        Returns:
            The result for each app in `groups`.
        """
        ...

    async def append_from_log(
        self,
        groups: Mapping[str, Sequence[Batch]],
        offsets: Mapping[str, Sequence[LogOffset]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, AppendResult]:
        """Append batches that were read from a log, recording their offsets in the same step.

        Works like `append`. In addition, a batch whose offset was recorded before is REPLAYED and
        is not appended, even if its id has expired. In a stale state no offset is recorded.

        Args:
            offsets: by app, one for each of its batches. They live as long as the inbox.
        """
        ...

    async def append_coalesced(
        self,
        elements: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        """Append one coalesced element to the inbox of each app, in one round trip.

        Atomic for each app. Nothing is changed if any of the element's ids is known or the app is
        not in the expected state; otherwise all its ids become known. TTLs are as for `append`.

        Returns:
            For each app, the elements in its inbox afterwards. 0 if nothing was changed: then
            `append` the batches one by one to learn why.
        """
        ...

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """The oldest `count` elements of each inbox, in one round trip.

        Apps with an empty inbox or on an unavailable shard are left out. If a shard is unavailable
        and no other has elements, StoreUnavailable is raised.
        """
        ...

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        """Fold several apps in one round trip, each independently as `fold` does."""
        ...

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        """Compact several slots in one round trip, each independently as `compact` does."""
        ...

    async def read_slots(self, slots: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        """The elements of each (app, slot), oldest first, in one round trip."""
        ...

    async def delete_slots(self, app: str, slots: Sequence[Slot]) -> None:
        """Delete these slots of an app."""
        ...

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        """The number of elements waiting to be folded, for each of these apps."""
        ...

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        """Record when apps were seen.

        `first_seen_s` only moves back, the other times only forward. The whole list expires
        `ttl_ms` after the last sighting of any app.
        """
        ...

    async def forget_apps(self, before_s: int) -> list[str]:
        """Remove apps last seen before `before_s` from the list of apps; returns their names."""
        ...

    async def compare_and_set_drain(self, app: str, old_record: str, new_record: str) -> bool:
        """Replace an app's drain record if it still is `old_record`, in one atomic step.

        Records never expire.

        Args:
            old_record: "" for an app without one.
            new_record: "" to remove it.
        Returns:
            False if the record is another one: then nothing was changed.
        """
        ...

    async def put_token(self, token_id: str, record: bytes) -> None:
        """Write the record of a read token. It never expires."""
        ...

    async def remove_token(self, token_id: str) -> bool:
        """Remove a read token; False if there was none."""
        ...

    async def tokens(self) -> dict[str, bytes]:
        """The records of the read tokens by id."""
        ...

    async def heartbeat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        """Write the heartbeat of a worker or task, replacing all fields of its last one."""
        ...

    async def problems(self) -> list[str]:
        """Reasons why this store must not be used, each a sentence with the fix; usually none."""
        ...

    async def warnings(self) -> list[str]:
        """Risks that the operator should fix although the store is usable, each a sentence."""
        ...

    async def server_info(self) -> ServerInfo:
        """Memory use, persistence and clock of the server; sums where there are several."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@runtime_checkable
class ShardedStore(Protocol):
    """A store of several shards, each of which may be unavailable separately."""

    def shard_of(self, app: str) -> Hashable:
        """The shard that holds an app now. No I/O."""
        ...

    def shards(self) -> Collection[Hashable]:
        """All shards known now. No I/O."""
        ...

    async def refuse_unsupported_data(self) -> None:
        """Raise an error if the store holds data that this version cannot read.

        Raises:
            StoreError: names the data and the fix.
            StoreUnavailable: the store could not be read.
        """
        ...
