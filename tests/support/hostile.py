"""The stored data of a hostile app, in whose lines each name is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

from app.rollup.accelerated import pack
from app.rollup.batch_codec import join_batch
from app.rollup.resolutions import MINUTE_S
from app.rollup.rollup import Rollup
from app.storage.interface.batches import Batch
from app.storage.interface.elements import KIND_BATCH, new_element
from app.storage.interface.store import Store
from parsers.numbers import Quantity
from parsers.samples import CustomMark, LanguageMetrics, Request

TTL_MS = 10**9
_numbers = count(10**6)


def add_process_types(rollup: Rollup, at_ms: int) -> None:
    """Requests of as many new process types as a rollup keeps separately."""
    for _ in range(32):
        rollup.observe(Request(f"t{next(_numbers)}.1", 200, "", 1, 20, 100), at_ms)


def add_dynos(rollup: Rollup, at_ms: int) -> None:
    """Requests of many new dynos."""
    for _ in range(300):
        rollup.observe(Request(f"web.{next(_numbers)}", 503, "H12", 1, 20, 100), at_ms)


def add_language_metrics(rollup: Rollup, at_ms: int) -> None:
    """Counters of as many new names as a rollup keeps."""
    marks = (
        CustomMark("count", f"n{next(_numbers)}", Quantity(10**6, 1.0, "")) for _ in range(200)
    )
    rollup.observe(LanguageMetrics("web.1", tuple(marks), 0), at_ms)


Names = Callable[[Rollup, int], None]
HOSTILE_NAMES: dict[str, Names] = {
    "process types": add_process_types,
    "dynos": add_dynos,
    "language metrics": add_language_metrics,
}


def hostile_element(add: Names, start_s: int, minutes: int) -> bytes:
    """The element of a batch whose lines are spread over so many minutes."""
    rollups = {}
    for minute_s in range(start_s, start_s + minutes * MINUTE_S, MINUTE_S):
        rollup = Rollup()
        rollup.messages = 1_000
        add(rollup, minute_s * 1_000)
        rollups[minute_s] = pack(rollup)
    return new_element(KIND_BATCH, join_batch(rollups))


async def append_hostile(
    store: Store, app: str, add: Names, start_s: int, *, minutes: int, batches: int
) -> int:
    """Append batches of a hostile app to its inbox; returns their bytes."""
    size = 0
    for _ in range(batches):
        element = hostile_element(add, start_s, minutes)
        size += len(element)
        batch = Batch(os.urandom(16), os.urandom(8), element)
        await store.append({app: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    return size
