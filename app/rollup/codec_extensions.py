"""Tagged extension sections of the rollup format (app.rollup.codec).

Each is a MessagePack array of rows that stands alone. Versions that do not know a tag preserve the
section unread.

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


def encode_extensions(rollup: Rollup) -> Iterator[tuple[str, bytes]]:
    """Yield (tag, bytes) of each section that is not empty."""
    for tag, rows_of in _ROWS.items():
        if rows := rows_of(rollup):
            yield tag, _encode(rows)


def merge_extensions(
    rollup: Rollup,
    extensions: Sequence[tuple[str, bytes]],
    sections: frozenset[str],
    *,
    keep_unknown: bool,
) -> None:
    """Merge packed extensions into a rollup.

    Args:
        rollup: changed in place.
        extensions: (tag, bytes) pairs.
        sections: the tags to merge.
        keep_unknown: whether to keep extensions that are not in TAGS, as bytes.

    Raises:
        ValueError, msgspec.MsgspecError: an extension is damaged.
    """
    for tag, data in extensions:
        if tag in TAGS:
            if tag in sections:
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
        key = EventKey(_check_count(at_ms), kind, source, detail)
        rollup.events[key] = rollup.events.get(key, 0) + _check_count(count)


def _read_exits(rollup: Rollup, data: bytes) -> None:
    for source, status, count in _decode_exits(data):
        if not 0 <= status <= _EXIT_STATUS_MAX:
            raise ValueError(f"{status} is not an exit status")
        key = (source, status)
        rollup.exits[key] = rollup.exits.get(key, 0) + _check_count(count)


def _read_restarts(rollup: Rollup, data: bytes) -> None:
    for source, count in _decode_restarts(data):
        rollup.restarts[source] = rollup.restarts.get(source, 0) + _check_count(count)


def _read_released(rollup: Rollup, data: bytes) -> None:
    for at_ms, version in _decode_released(data):
        rollup.released = max(rollup.released, (_check_count(at_ms), version))


def _check_count(value: int) -> int:
    if not 0 <= value <= _NUMBER_MAX:
        raise ValueError(f"{value} is not a count")
    return value


_READ: dict[str, Callable[[Rollup, bytes], None]] = {
    "events": _read_events,
    "exits": _read_exits,
    "restarts": _read_restarts,
    "released": _read_released,
}
TAGS = frozenset(_READ)
