"""What lies in the store and on disk is read, or refused as damaged, and nothing else happens."""

from __future__ import annotations

import msgspec

from app.ingest.received_batch import pack_received, unpack_received
from app.rollup.batch_codec import pack_batch, unpack_batch
from app.rollup.codec import SECTIONS, PackError, merge_packed, pack, unpack
from app.rollup.rollup import Rollup

_NAMES = ["web.1", "web", "H12", "counted", "worker.2", ""]
_EMPTY = msgspec.msgpack.encode([])


def packing(data: bytes) -> None:
    """Bytes are a rollup or a PackError; a rollup stays what it is through packing and merging."""
    try:
        rollup = unpack(data)
    except PackError:
        return
    assert _entries(rollup) <= len(data)
    packed = pack(rollup)
    assert pack(unpack(packed)) == packed
    merged = Rollup()
    merge_packed(merged, packed)
    merged.merge(Rollup())
    assert pack(merged) == packed
    merge_packed(merged, packed)
    unpack(pack(merged))


def section(data: bytes) -> None:
    """As packing, of one section's numbers, of which the first byte says which."""
    if data:
        sections = [_EMPTY] * len(SECTIONS)
        sections[data[0] % len(SECTIONS)] = data[1:]
        packing(msgspec.msgpack.encode([1, 0, _NAMES, *sections, []]))


def _entries(rollup: Rollup) -> int:
    """How much was made of the bytes."""
    tables = (getattr(rollup, name) for name in SECTIONS)
    bins = sum(len(each) for each in rollup.sketches.values())
    return sum(len(table) for table in tables) + bins + len(rollup.extensions)


def batch(data: bytes) -> None:
    """Bytes are a batch or a PackError; a batch stays what it is."""
    try:
        rollups = [(minute, unpack(packed)) for minute, packed in unpack_batch(data)]
    except PackError:
        return
    packed_batch = pack_batch(dict(rollups))
    assert pack_batch({at: unpack(packed) for at, packed in unpack_batch(packed_batch)}) == (
        packed_batch
    )


def arrival(data: bytes) -> None:
    """Bytes are an arrival or a PackError; what was written is read back, and can be appended."""
    try:
        found = unpack_received(data)
    except PackError:
        return
    written = pack_received(found)
    again = unpack_received(written)
    assert (again.app, again.id, again.token, again.drain) == (
        found.app,
        found.id,
        found.token,
        found.drain,
    )
    assert pack_received(again) == written
