"""The spool: where arrivals wait on disk while the store is away.

A directory with one file per worker. What a worker that ended left there, any other takes over:
files are locked by the process that uses them, and a lock ends with its process.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from app.ingest import spool_file
from app.ingest.spool_file import SpoolFile

_SUFFIX = ".spool"


class SpoolFull(Exception):
    """The records could not be kept; the message says why and what to do."""


class SpoolStatus(NamedTuple):
    """What waits in the directory, of all workers."""

    bytes: int
    since_s: int  # Unix seconds; 0 when nothing waits


class Spool:
    """This worker's part of the spool. Safe to use from several threads."""

    def __init__(self, directory: Path, *, bytes_max: int, clock: Callable[[], float]) -> None:
        """
        Args:
            directory: created when first needed.
            bytes_max: of all files in it.
            clock: Unix time in seconds.
        """
        self._directory = directory
        self.bytes_max = bytes_max
        self._clock = clock
        self._own: SpoolFile | None = None
        self._adopted: dict[Path, SpoolFile] = {}
        self._lock = threading.Lock()

    @property
    def in_use(self) -> bool:
        """Whether we have records to be read; those that another worker left, once they were found
        by `files`.
        """
        own = self._own
        return bool(self._adopted) or (own is not None and own.waiting_bytes > 0)

    def add(self, records: Sequence[bytes]) -> None:
        """Keep records; they are on the disk when this returns.

        Raises:
            SpoolFull: they are not.
        """
        with self._lock:
            used = sum(map(_size, self._paths()))
            if used + sum(map(len, records)) > self.bytes_max:
                raise SpoolFull(
                    f"the spool is full ({self.bytes_max} bytes, DYNOMETER_SPOOL_MAX_BYTES): bring "
                    "the store back; batches are refused until then"
                )
            try:
                if self._own is None:
                    self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    name = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
                    self._own = SpoolFile.create(self._directory / name)
                self._own.append(records, self._clock())
            except OSError as error:
                raise SpoolFull(
                    f"cannot write to the spool in {self._directory} ({error.strerror}): make room "
                    "there, or bring the store back; batches are refused until then"
                ) from error

    def files(self) -> list[SpoolFile]:
        """The files with records to be read that are ours, or that nobody uses any more."""
        with self._lock:
            own = self._own
            for path in self._paths():
                if path not in self._adopted and (own is None or path != own.path):
                    adopted = SpoolFile.adopt(path)
                    if adopted is not None:
                        self._adopted[path] = adopted
            files = [*([own] if own is not None else []), *self._adopted.values()]
        return [file for file in files if file.waiting_bytes or file is not own]

    def emptied(self, file: SpoolFile) -> None:
        """A file was read to its end: if another process left it, it goes."""
        with self._lock:
            if self._adopted.pop(file.path, None) is not None:
                file.remove()

    def status(self) -> SpoolStatus:
        """What waits, of all workers."""
        found = [spool_file.waiting(path) for path in self._paths()]
        since_s = min((since_s for size, since_s in found if size and since_s), default=0)
        return SpoolStatus(sum(size for size, _ in found), since_s)

    def close(self) -> None:
        """Let go of all files: what waits in them, the next start takes over."""
        with self._lock:
            for file in self._adopted.values():
                file.close()
            self._adopted.clear()
            if self._own is not None:
                if self._own.waiting_bytes:
                    self._own.close()
                else:
                    self._own.remove()
                self._own = None

    def _paths(self) -> Iterator[Path]:
        try:
            names = sorted(os.listdir(self._directory))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name.endswith(_SUFFIX):
                yield self._directory / name


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another worker has just emptied it
        return 0
