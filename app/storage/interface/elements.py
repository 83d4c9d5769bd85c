"""The elements of inboxes and slots, and the header that identifies each.

An *element* is bytes: KIND (1 byte), HEADER_RANDOM_BYTES random bytes, data. The first two are its
header. A new header is drawn for each attempt to push an element, so no header occurs twice in a
list. Lists grow at the end and shrink at the head. A server that loses data (in a failover or a
crash) loses the latest writes.

Folds and compactions rely on this. To prove that the first n elements of a list are still the ones
that were read, they compare the header of the n-th element only. While it is in its place, so are
all elements before it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

HEADER_RANDOM_BYTES = 8
HEADER_BYTES = 1 + HEADER_RANDOM_BYTES
KIND_BATCH = b"D"
KIND_ROLLUP = b"C"
KIND_UNREADABLE = b"U"


class Slot(NamedTuple):
    """One interval of one resolution.

    Attributes:
        resolution: "1m", "10m", "1h" or "total"; "unreadable" for damaged batches.
        start: Unix seconds, aligned to the resolution; 0 for the last two.
    """

    resolution: str
    start: int


TOTAL = Slot("total", 0)
UNREADABLE = Slot("unreadable", 0)

# Random bytes are fetched from the system 256 headers at a time. A child process must not draw the
# headers that its parent will draw.
_random_pool: list[bytes] = []
os.register_at_fork(after_in_child=_random_pool.clear)


def random_bytes() -> bytes:
    """HEADER_RANDOM_BYTES random bytes: for the header of an element or the token of a POST."""
    if not _random_pool:
        pool, size = os.urandom(256 * HEADER_RANDOM_BYTES), HEADER_RANDOM_BYTES
        _random_pool.extend([pool[offset : offset + size] for offset in range(0, len(pool), size)])
    return _random_pool.pop()


def new_element(kind: bytes, data: bytes) -> bytes:
    """An element of this data with a new header."""
    return kind + random_bytes() + data


def last_header(elements: Sequence[bytes]) -> bytes:
    """The header of the last element; b"" if there is none."""
    return elements[-1][:HEADER_BYTES] if elements else b""
