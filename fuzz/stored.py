"""Fuzz targets for stored formats: any bytes are read, or rejected as damaged."""

from __future__ import annotations

import msgspec

from app.ingest.received_batch import pack_received, unpack_received
from app.rollup import addon_rows
from app.rollup.batch_codec import pack_batch, unpack_batch
from app.rollup.codec import PackError, merge_packed, pack, unpack
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_SECTIONS, SECTIONS, TAGGED_SECTIONS

_NAMES = ["web.1", "web", "H12", "counted", "worker.2", ""]
_TAGS = (addon_rows.TAG, *(section.name for section in TAGGED_SECTIONS))
_TAGGED = 128  # from here on a first byte chooses a tagged section
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
    """The same for the rows of one section. The first byte chooses the section."""
    packing(rollup_of_section(data))


def rollup_of_section(data: bytes) -> bytes:
    """A packed rollup with one section, which is the first byte's choice; the rest are its rows."""
    number, rows = data[0] if data else 0, data[1:]
    sections = [_EMPTY] * len(CORE_SECTIONS)
    extensions = []
    if number < _TAGGED:
        sections[number % len(CORE_SECTIONS)] = rows
    else:
        extensions.append([_TAGS[number % len(_TAGS)], rows])
    return msgspec.msgpack.encode([1, 0, _NAMES, *sections, extensions])


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
