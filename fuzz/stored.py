"""Fuzz targets for stored formats: any bytes are read, or rejected as damaged."""

from __future__ import annotations

import msgspec

from app.ingest.received_batch import pack_received, unpack_received
from app.rollup.batch_codec import pack_batch, unpack_batch
from app.rollup.codec import PackError, merge_packed, pack, unpack
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_SECTIONS, SECTIONS

_NAMES = ["web.1", "web", "H12", "counted", "worker.2", ""]
_EMPTY = msgspec.msgpack.encode([])


def packing(data: bytes) -> None:
    """Bytes give a rollup or a PackError. Packing and merging leave a rollup unchanged."""
    try:
        rollup = unpack(data)
    except PackError:
        return
    assert _entry_count(rollup) <= len(data)
    stable_data = pack(rollup)
    assert pack(unpack(stable_data)) == stable_data
    merged_rollup = Rollup()
    merge_packed(merged_rollup, stable_data)
    merged_rollup.merge(Rollup())
    assert pack(merged_rollup) == stable_data
    merge_packed(merged_rollup, stable_data)
    unpack(pack(merged_rollup))


def section(data: bytes) -> None:
    """The same for the numbers of one section. The first byte chooses the section."""
    if data:
        sections = [_EMPTY] * len(CORE_SECTIONS)
        sections[data[0] % len(CORE_SECTIONS)] = data[1:]
        packing(msgspec.msgpack.encode([1, 0, _NAMES, *sections, []]))


def _entry_count(rollup: Rollup) -> int:
    """How many entries a rollup has in all its sections."""
    tables = (rollup.rows(section) for section in SECTIONS)
    bins = sum(len(sketch) for sketch in rollup.sketches.values())
    return sum(len(table) for table in tables) + bins + len(rollup.extensions)


def batch(data: bytes) -> None:
    """Bytes give a batch or a PackError. Packing leaves a batch unchanged."""
    try:
        rollups = {minute: unpack(rollup) for minute, rollup in unpack_batch(data)}
    except PackError:
        return
    repacked_data = pack_batch(rollups)
    rollups = {minute: unpack(rollup) for minute, rollup in unpack_batch(repacked_data)}
    assert pack_batch(rollups) == repacked_data


def received_batch(data: bytes) -> None:
    """Bytes give a received batch or a PackError. Packing leaves a received batch unchanged."""
    try:
        received = unpack_received(data)
    except PackError:
        return
    repacked_data = pack_received(received)
    again = unpack_received(repacked_data)
    assert (again.app, again.id, again.token, again.drain) == (
        received.app,
        received.id,
        received.token,
        received.drain,
    )
    assert pack_received(again) == repacked_data
