"""Remembers log lines that were already sent: one number per line, one file per store and app."""

from __future__ import annotations

import os
import re
import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path

LINES_MAX = 2_000_000  # 16 MB on disk


class SentLines:
    """A file of 8-byte digests, of at least the newest `lines_max` lines that were sent.

    Equal lines are distinguished by their occurrence: if k of n equal lines of an input were sent,
    the first k are in the file.
    """

    def __init__(self, path: Path, lines_max: int = LINES_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._lines_max = lines_max
        self._occurrences: dict[int, int] = {}
        self._file_bytes = path.stat().st_size if path.exists() else 0
        if self._file_bytes > 8 * self._lines_max or self._file_bytes % 8:
            self._trim()
        self._keys = self._read_keys()

    def begin_file(self) -> None:
        """Begin a file of the input. Lines sent from the files before are now known."""
        self._occurrences.clear()
        self._keys = self._read_keys()

    def _read_keys(self) -> frozenset[int]:
        return frozenset(array("Q", self._path.read_bytes() if self._file_bytes else b""))

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def next_keys(self, identity: bytes, raw: bytes) -> tuple[int, int]:
        """The key of the next occurrence of this line, and the one of versions before.

        Args:
            identity: what is the same about the line in all forms; see app.traffic.line_identity.
            raw: the line as it was read, which was its key before.
        """
        line = _digest(identity)
        occurrence = self._occurrences.pop(line, 0) + 1
        self._occurrences[line] = occurrence
        if len(self._occurrences) > self._lines_max:  # equal lines have equal times: they are close
            for oldest in list(islice(self._occurrences, self._lines_max // 2)):
                del self._occurrences[oldest]
        return _occurrence_key(line, occurrence), _occurrence_key(_digest(raw), occurrence)

    def add(self, keys: Sequence[int]) -> None:
        """Add the keys of sent lines to the file. The next run contains them."""
        with self._path.open("ab") as file:
            file.write(array("Q", keys).tobytes())
        self._file_bytes += 8 * len(keys)
        if self._file_bytes > 2 * 8 * self._lines_max:
            self._trim()

    def _trim(self) -> None:
        """Keep the newest digests, without a half-written one at the end."""
        data = self._path.read_bytes()[: self._file_bytes // 8 * 8]
        new_path = self._path.with_name(f"{self._path.name}.new")
        new_path.write_bytes(data[-8 * self._lines_max :])
        os.replace(new_path, self._path)
        self._file_bytes = self._path.stat().st_size


def sent_lines_path(directory: Path, app: str, url: str, store_id: str) -> Path:
    """The file of an app's lines that were sent to the store behind this address.

    A store is recognized by its id, so it does not matter by which address it was reached, and an
    emptied store starts with no lines. A second name, for the address, links to the file. It serves
    while the service cannot tell the id of its store.

    Versions before store ids kept a file for each address. Its lines are taken over.

    Args:
        store_id: "" if it is not known.
    """
    address_path = directory / f"{app}-{blake2b(url.encode(), digest_size=8).hexdigest()}"
    if not store_id:
        return address_path.resolve()
    path = directory / f"{app}-{store_id}"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if address_path.is_file() and not address_path.is_symlink():
        # If this run ends before the link replaces the file, the next one adds the lines again,
        # which changes nothing.
        data = address_path.read_bytes()
        SentLines(path).add(array("Q", data[: len(data) // 8 * 8]))
    new_link = directory / f"{address_path.name}.new"
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(path.name)
    os.replace(new_link, address_path)
    return path


def forget_sent_lines(directory: Path, app: str) -> None:
    """Delete the files of an app that was removed, so that its lines can be sent again."""
    name = re.compile(rf"{re.escape(app)}-(?:[0-9a-f]{{16}}|[0-9a-f]{{32}})")
    for path in directory.glob(f"{app}-*"):
        if name.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _occurrence_key(line: int, occurrence: int) -> int:
    return line if occurrence == 1 else _digest(b"%d %d" % (line, occurrence))


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), sys.byteorder)
