"""Keys of an app in Redis (store.py lists them), and the calls of the scripts that write:
how many keys, keys, arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.storage.interface import (
    Batch,
    CoalescedElement,
    Fold,
    LogOffset,
    Slot,
    StatePrecondition,
    last_header,
)

APPS_REMEMBERED = 4_096


def inbox_key(app: str) -> str:
    """Of the inbox."""
    return f"dm:{{{app}}}:inbox"


def state_key(app: str) -> str:
    """Of what is kept about its drains."""
    return f"dm:{{{app}}}:drain"


def ids_of_all(app: str) -> tuple[str, str]:
    """Of the two hashes of ids (see ids.lua), where all apps lie together."""
    return "dm:ids", "dm:ids:before"


def ids_of_each(app: str) -> tuple[str, str]:
    """The same where each app lies by itself."""
    return f"dm:{{{app}}}:ids", f"dm:{{{app}}}:ids:before"


def id_field(app: str, batch_id: bytes) -> bytes:
    """Of the token of a POST, in these hashes."""
    return batch_id + app.encode()


def slot_key(app: str, slot: Slot) -> str:
    """Of a slot."""
    return f"dm:{{{app}}}:{slot.resolution}:{slot.start}"


def append_call(
    ids: Sequence[str],
    app: str,
    batches: Sequence[Batch],
    guard: StatePrecondition | None,
    id_ttl_ms: int,
    inbox_ttl_ms: int,
) -> list[Any]:
    """Of append.lua; `ids` as of ids_of_all."""
    call: list[Any] = [4, *ids, inbox_key(app), state_key(app)]
    call += (id_ttl_ms, inbox_ttl_ms, *_guarded(guard))
    for batch in batches:
        call += batch
    return call


def append_from_log_call(
    ids: Sequence[str],
    app: str,
    batches: Sequence[Batch],
    places: Sequence[LogOffset],
    guard: StatePrecondition | None,
    id_ttl_ms: int,
    inbox_ttl_ms: int,
) -> list[Any]:
    """Of append_from_log.lua."""
    call: list[Any] = [5, *ids, inbox_key(app), state_key(app), f"dm:{{{app}}}:log"]
    call += (id_ttl_ms, inbox_ttl_ms, *_guarded(guard))
    for batch, place in zip(batches, places, strict=True):
        call += (*batch, *place)
    return call


def bundle_call(
    ids: Sequence[str],
    bundles: Sequence[tuple[str, CoalescedElement]],
    guards: Mapping[str, StatePrecondition],
    id_ttl_ms: int,
    inbox_ttl_ms: int,
) -> list[Any]:
    """Of bundle.lua."""
    keys: list[str | bytes] = [*ids]
    arguments: list[Any] = [id_ttl_ms, inbox_ttl_ms]
    for app, bundle in bundles:
        keys += _written_to(app)
        states = _states(guards.get(app))
        names = b"".join((*bundle.ids, *bundle.tokens))
        arguments += (len(states), *states, bundle.element, names)
    return [len(keys), *keys, *arguments]


def fold_call(folds: Sequence[tuple[str, Fold]]) -> list[Any]:
    """Of fold.lua."""
    keys: list[str] = []
    arguments: list[Any] = []
    for app, fold in folds:
        keys += (inbox_key(app), *[slot_key(app, write.slot) for write in fold.writes])
        arguments += (len(fold.folded), last_header(fold.folded), len(fold.writes))
        for write in fold.writes:
            arguments += (write.ttl_ms, write.element)
    return [len(keys), *keys, *arguments]


@lru_cache(APPS_REMEMBERED)
def _written_to(app: str) -> tuple[bytes, bytes]:
    """The keys of its inbox and its state."""
    return inbox_key(app).encode(), state_key(app).encode()


def _guarded(guard: StatePrecondition | None) -> tuple[int, bytes, bytes]:
    return (1, guard.expected, guard.new) if guard else (0, b"", b"")


def _states(guard: StatePrecondition | None) -> Sequence[bytes]:
    """That which is expected, and the new one if it changes."""
    if guard is None:
        return ()
    return (guard.expected, guard.new) if guard.new else (guard.expected,)
