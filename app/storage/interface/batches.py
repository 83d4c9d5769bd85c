"""Appending batches to inboxes, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

ID_BYTES = 16


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

    The batches of one app and source come in the order of their positions, and no two share one.

    Attributes:
        epoch: grows with each change of the log's leader. After a leader lost records it gives
            their offsets away again, in a later epoch. None if unknown: then offsets alone count.
    """

    source: str
    offset: int
    epoch: int | None = None

    def is_before(self, other: LogOffset) -> bool:
        """Whether a log with `other` as its newest record had this one before, or as the same."""
        if self.epoch is not None and other.epoch is not None and self.epoch != other.epoch:
            return self.epoch < other.epoch
        return self.offset <= other.offset


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


class BatchStore(Protocol):
    """Appends batches to inboxes."""

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
