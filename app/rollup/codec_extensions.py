"""Sections that came later than the first format: each is known by its tag and stands for itself,
so versions that do not know it carry it along unread (app.rollup.codec).

    events    [[at_ms, kind, source, detail, count], …]
    exits     [[source, status, count], …]
    restarts  [[source, count], …]
    released  [[at_ms, version]]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from app.rollup.events import EventKey
from app.rollup.rollup import Rollup

_NUMBER_MAX = 2**63 - 1
_EXIT_STATUS_MAX = 255

_encode = msgspec.msgpack.Encoder().encode
_decode_events = msgspec.msgpack.Decoder(list[tuple[int, str, str, str, int]]).decode
_decode_exits = msgspec.msgpack.Decoder(list[tuple[str, int, int]]).decode
_decode_restarts = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode
_decode_released = msgspec.msgpack.Decoder(list[tuple[int, str]]).decode


def written(rollup: Rollup) -> Iterator[tuple[str, bytes]]:
    """The sections of a rollup that hold something."""
    for tag, rows_of in _ROWS.items():
        if rows := rows_of(rollup):
            yield tag, _encode(rows)


def read(
    rollup: Rollup,
    found: Sequence[tuple[str, bytes]],
    wanted: frozenset[str],
    *,
    keep_unknown: bool,
) -> None:
    """Merge sections into a rollup: those of TAGS that are wanted, and if asked those that only a
    newer version can read, as they are.

    Raises:
        ValueError, msgspec.MsgspecError: one is damaged.
    """
    for tag, data in found:
        if tag in TAGS:
            if tag in wanted:
                _READ[tag](rollup, data)
        elif keep_unknown:
            rollup.extensions = tuple(sorted([*rollup.extensions, (tag, data)]))


def _event_rows(rollup: Rollup) -> Collection[Any]:
    return [(*key, min(count, _NUMBER_MAX)) for key, count in sorted(rollup.events.items())]


def _exit_rows(rollup: Rollup) -> Collection[Any]:
    return [(*key, min(count, _NUMBER_MAX)) for key, count in sorted(rollup.exits.items())]


def _restart_rows(rollup: Rollup) -> Collection[Any]:
    return [(key, min(count, _NUMBER_MAX)) for key, count in sorted(rollup.restarts.items())]


def _released_rows(rollup: Rollup) -> Collection[Any]:
    return [rollup.released] if rollup.released[0] else []


_ROWS: dict[str, Callable[[Rollup], Collection[Any]]] = {
    "events": _event_rows,
    "exits": _exit_rows,
    "restarts": _restart_rows,
    "released": _released_rows,
}


def _read_events(rollup: Rollup, data: bytes) -> None:
    for at_ms, kind, source, detail, count in _decode_events(data):
        key = EventKey(_count(at_ms), kind, source, detail)
        rollup.events[key] = rollup.events.get(key, 0) + _count(count)


def _read_exits(rollup: Rollup, data: bytes) -> None:
    for source, status, count in _decode_exits(data):
        if not 0 <= status <= _EXIT_STATUS_MAX:
            raise ValueError(f"{status} is no exit status")
        key = (source, status)
        rollup.exits[key] = rollup.exits.get(key, 0) + _count(count)


def _read_restarts(rollup: Rollup, data: bytes) -> None:
    for source, count in _decode_restarts(data):
        rollup.restarts[source] = rollup.restarts.get(source, 0) + _count(count)


def _read_released(rollup: Rollup, data: bytes) -> None:
    for at_ms, version in _decode_released(data):
        rollup.released = max(rollup.released, (_count(at_ms), version))


def _count(value: int) -> int:
    if not 0 <= value <= _NUMBER_MAX:
        raise ValueError(f"{value} is no count")
    return value


_READ: dict[str, Callable[[Rollup, bytes], None]] = {
    "events": _read_events,
    "exits": _read_exits,
    "restarts": _read_restarts,
    "released": _read_released,
}
TAGS = frozenset(_READ)
