"""Which log lines were sent before: a number for each, in a file per service and app."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path

REMEMBERED_MAX = 2_000_000  # lines; 16 MB on disk


class SentLines:
    """What was sent before: a file of 8-byte digests, of at least the newest REMEMBERED_MAX lines.

    Equal lines are told apart by their occurrence: of n equal lines in an input the first k are
    known if k were sent.
    """

    def __init__(self, path: Path, remembered_max: int = REMEMBERED_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._remembered_max = remembered_max
        self._occurrences: dict[int, int] = {}
        self._size = path.stat().st_size if path.exists() else 0
        if self._size > 8 * self._remembered_max or self._size % 8:
            self._trim()
        keys = array("Q", path.read_bytes() if self._size else b"")
        self._keys = frozenset(keys)

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def key(self, raw: bytes) -> int:
        """What the next occurrence of this line is remembered by."""
        line = _digest(raw)
        occurrence = self._occurrences.pop(line, 0) + 1
        self._occurrences[line] = occurrence
        if len(self._occurrences) > self._remembered_max:  # equal lines are near: equal times
            for oldest in list(islice(self._occurrences, self._remembered_max // 2)):
                del self._occurrences[oldest]
        return line if occurrence == 1 else _digest(b"%d %d" % (line, occurrence))

    def remember(self, keys: Sequence[int]) -> None:
        """Take these as sent, from the next run on."""
        with self._path.open("ab") as file:
            file.write(array("Q", keys).tobytes())
        self._size += 8 * len(keys)
        if self._size > 2 * 8 * self._remembered_max:
            self._trim()

    def _trim(self) -> None:
        """Keep the newest, and no half-written digest at the end."""
        whole = self._path.read_bytes()[: self._size // 8 * 8]
        shorter = self._path.with_name(f"{self._path.name}.new")
        shorter.write_bytes(whole[-8 * self._remembered_max :])
        os.replace(shorter, self._path)
        self._size = self._path.stat().st_size


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), sys.byteorder)
