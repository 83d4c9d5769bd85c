"""Batches and the usual way to append them, for tests of stores."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from app.storage.interface.batches import (
    ID_BYTES,
    NO_PRECONDITIONS,
    AppendResult,
    Batch,
    CoalescedElement,
    StatePrecondition,
)
from app.storage.interface.elements import HEADER_BYTES, KIND_BATCH, KIND_ROLLUP, Slot, new_element
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.folding import SlotWrite
from app.storage.interface.store import Store

DAY_MS = 24 * 3600 * 1000
MINUTE = Slot("1m", 1_795_341_600)
TOTAL = Slot("total", 0)


def batch(data: bytes = b"data", *, id: bytes | None = None, token: bytes | None = None) -> Batch:  # noqa: A002 - as in Batch
    """A batch with an id and a token of its own unless they are given."""
    return Batch(
        os.urandom(ID_BYTES) if id is None else id,
        os.urandom(8) if token is None else token,
        new_element(KIND_BATCH, data),
    )


def again(first: Batch) -> Batch:
    """What the sender sends when it repeats a batch: the same id, in a POST of its own."""
    return batch(b"sent again", id=first.id)


async def append(store: Store, app: str, *batches: Batch) -> AppendResult:
    answers = await store.append({app: batches}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)
    return answers[app]


async def append_when_taken(store: Store, app: str, *batches: Batch) -> AppendResult:
    """Again and again, while the store is away."""
    while True:
        try:
            return await append(store, app, *batches)
        except StoreUnavailable:
            await asyncio.sleep(0.01)


def bundle(*batches: Batch, data: bytes = b"together") -> CoalescedElement:
    """An element that holds what these batches do."""
    ids, tokens = [each.id for each in batches], [each.token for each in batches]
    return CoalescedElement(ids, tokens, new_element(KIND_BATCH, data))


async def append_bundle(
    store: Store,
    app: str,
    sent: CoalescedElement,
    preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
) -> int:
    answers = await store.append_coalesced(
        {app: sent}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS, preconditions=preconditions
    )
    return answers[app]


async def fill(store: Store, app: str, count: int) -> list[bytes]:
    """Append so many batches; returns their elements."""
    batches = [batch(b"%d" % i) for i in range(count)]
    await append(store, app, *batches)
    return [each.element for each in batches]


def write(slot: Slot = MINUTE, data: bytes = b"rollup", ttl_ms: int = DAY_MS) -> SlotWrite:
    return SlotWrite(slot, new_element(KIND_ROLLUP, data), ttl_ms)


async def inbox(store: Store, app: str) -> list[bytes]:
    return (await store.read(app, [])).inbox


async def slot_of(store: Store, app: str, slot: Slot = MINUTE) -> list[bytes]:
    return (await store.read(app, [slot], inbox=False)).slots.get(slot, [])


def data(elements: Sequence[bytes]) -> list[bytes]:
    return [element[HEADER_BYTES:] for element in elements]
