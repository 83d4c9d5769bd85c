"""Builds an app's Redis keys, and the calls of the scripts that write: key count, keys, arguments.

app.storage.redis.store lists all keys. The scripts document their arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.storage.interface.batches import Batch, CoalescedElement, LogOffset, StatePrecondition
from app.storage.interface.elements import Slot, last_header
from app.storage.interface.folding import Fold

KEY_CACHE_APPS_MAX = 4_096


def inbox_key(app: str) -> str:
    """The key of an app's inbox."""
    return f"dm:{{{app}}}:inbox"


def state_key(app: str) -> str:
    """The key of an app's state: which of its drains counts."""
    return f"dm:{{{app}}}:drain"


def shared_id_keys(app: str) -> tuple[str, str]:
    """The keys of the two hashes of batch ids (ids.lua) that all apps share on one server."""
    return "dm:ids", "dm:ids:before"


def app_id_keys(app: str) -> tuple[str, str]:
    """The keys of the two hashes of batch ids of one app, on a cluster."""
    return f"dm:{{{app}}}:ids", f"dm:{{{app}}}:ids:before"


def changed_hours_key(app: str) -> str:
    """The key of the hours that folds changed, for the archive."""
    return f"dm:{{{app}}}:changed"


def slot_key(app: str, slot: Slot) -> str:
    """The key of a slot."""
    return f"dm:{{{app}}}:{slot.resolution}:{slot.start}"


def append_call(
    id_keys: Sequence[str],
    app: str,
    batches: Sequence[Batch],
    precondition: StatePrecondition | None,
    id_ttl_ms: int,
    inbox_ttl_ms: int,
) -> list[Any]:
    """A call of append.lua."""
    call: list[Any] = [4, *id_keys, inbox_key(app), state_key(app)]
    call += (id_ttl_ms, inbox_ttl_ms, *_precondition_arguments(precondition))
    for batch in batches:
        call += batch
    return call


def append_from_log_call(
    id_keys: Sequence[str],
    app: str,
    batches: Sequence[Batch],
    offsets: Sequence[LogOffset],
    precondition: StatePrecondition | None,
    id_ttl_ms: int,
    inbox_ttl_ms: int,
) -> list[Any]:
    """A call of append_from_log.lua."""
    call: list[Any] = [5, *id_keys, inbox_key(app), state_key(app), f"dm:{{{app}}}:log"]
    call += (id_ttl_ms, inbox_ttl_ms, *_precondition_arguments(precondition))
    for batch, offset in zip(batches, offsets, strict=True):
        epoch = "" if offset.epoch is None else offset.epoch
        call += (*batch, offset.source, offset.offset, epoch)
    return call


def append_coalesced_call(
    id_keys: Sequence[str],
    elements: Sequence[tuple[str, CoalescedElement]],
    preconditions: Mapping[str, StatePrecondition],
    id_ttl_ms: int,
    inbox_ttl_ms: int,
    *,
    has_due_ttls: bool,
) -> list[Any]:
    """A call of append_coalesced.lua."""
    inboxes: list[bytes] = []
    states: list[bytes] = []
    fields: list[bytes] = []
    tokens: list[bytes] = []
    arguments: list[Any] = []
    for app, group in elements:
        encoded_app, inbox, state = _append_names(app)
        inboxes.append(inbox)
        states.append(state)
        fields += [batch_id + encoded_app for batch_id in group.ids]
        tokens += group.tokens
        guard = preconditions.get(app)
        if guard is None:
            arguments += (len(group.ids), 0, group.element)
        elif guard.new_state:
            arguments += (len(group.ids), 2, guard.expected_state, guard.new_state, group.element)
        else:
            arguments += (len(group.ids), 1, guard.expected_state, group.element)
    head = (id_ttl_ms, inbox_ttl_ms, int(has_due_ttls), len(fields), b"")
    keys = (*id_keys, *inboxes, *states)
    return [len(keys), *keys, *head, *fields, *tokens, *arguments]


def fold_call(folds: Sequence[tuple[str, Fold]]) -> list[Any]:
    """A call of fold.lua."""
    keys: list[str] = []
    arguments: list[Any] = []
    for app, fold in folds:
        keys += (inbox_key(app), *[slot_key(app, write.slot) for write in fold.writes])
        arguments += (len(fold.elements), last_header(fold.elements))
        arguments += (len(fold.writes), len(fold.changed_hours))
        for write in fold.writes:
            arguments += (write.ttl_ms, write.element)
        if fold.changed_hours:
            keys.append(changed_hours_key(app))
            arguments += (max(write.ttl_ms for write in fold.writes), *fold.changed_hours)
    return [len(keys), *keys, *arguments]


@lru_cache(KEY_CACHE_APPS_MAX)
def _append_names(app: str) -> tuple[bytes, bytes, bytes]:
    """The name of an app, and the keys of its inbox and state, encoded; cached because every POST
    needs them.
    """
    return app.encode(), inbox_key(app).encode(), state_key(app).encode()


def _precondition_arguments(precondition: StatePrecondition | None) -> tuple[int, bytes, bytes]:
    return (
        (1, precondition.expected_state, precondition.new_state) if precondition else (0, b"", b"")
    )
