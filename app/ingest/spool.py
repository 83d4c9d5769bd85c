"""The spool: batches wait here on disk while the store is unavailable.

A directory with one file per worker. A file is locked by the process that uses it, and the lock
ends with the process. So any other worker can take over the files of a worker that has ended.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from app.ingest import spool_file
from app.ingest.spool_file import SpoolFile

log = logging.getLogger(__name__)

_SUFFIX = ".spool"


class SpoolRejected(Exception):
    """The records were not stored; the message names the cause and the remedy."""


class SpoolStatus(NamedTuple):
    """The records of all workers that wait in the directory."""

    bytes: int
    since_s: int  # Unix seconds; 0 if there are none


class Spool:
    """This worker's part of the spool. Safe to use from several threads."""

    def __init__(self, directory: Path, *, bytes_max: int, clock: Callable[[], float]) -> None:
        """
        Args:
            directory: created when first needed.
            bytes_max: the limit for all files in the directory together.
            clock: Unix time in seconds.
        """
        self._directory = directory
        self.bytes_max = bytes_max
        self._clock = clock
        self._own: SpoolFile | None = None
        self._adopted_files: dict[Path, SpoolFile] = {}
        self._lock = threading.Lock()
        # Called in the thread that added records.
        self.on_added: Callable[[], object] = lambda: None

    @property
    def in_use(self) -> bool:
        """Whether there are records to replay.

        Files of other workers are included once `files` has adopted them.
        """
        own = self._own
        return bool(self._adopted_files) or (own is not None and own.pending_bytes > 0)

    def add(self, records: Sequence[bytes]) -> None:
        """Write records; they are synced to disk when this returns.

        Raises:
            SpoolFull: nothing was written.
        """
        with self._lock:
            total_bytes = sum(map(_size, self._paths()))
            if total_bytes + sum(map(len, records)) > self.bytes_max:
                raise SpoolRejected(
                    f"The spool has reached its limit of {self.bytes_max} bytes "
                    "(DYNOMETER_SPOOL_MAX_BYTES), so batches are rejected. Bring the store back."
                )
            try:
                if self._own is not None:
                    self._restore(self._own)
                else:
                    self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    name = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
                    self._own = SpoolFile.create(self._directory / name)
                self._own.append(records, self._clock())
                self._restore(self._own)  # it may have been deleted while we wrote
            except OSError as error:
                raise SpoolRejected(
                    f"Cannot write to the spool in {self._directory} ({error.strerror}), so "
                    "batches are rejected. Free space there, or bring the store back."
                ) from error
        self.on_added()

    def files(self) -> list[SpoolFile]:
        """The files that this worker can replay: its own, and those of workers that have ended."""
        with self._lock:
            own = self._own
            for path in self._paths():
                if path not in self._adopted_files and (own is None or path != own.path):
                    file = SpoolFile.adopt(path)
                    if file is not None:
                        self._adopted_files[path] = file
            files = [*([own] if own is not None else []), *self._adopted_files.values()]
        return [file for file in files if file.pending_bytes or file is not own]

    def restore(self) -> None:
        """Write files again that somebody deleted while records wait in them.

        Raises:
            OSError: a file could not be written.
        """
        with self._lock:
            for file in (self._own, *self._adopted_files.values()):
                if file is not None and file.pending_bytes:
                    self._restore(file)

    def _restore(self, file: SpoolFile) -> None:
        if file.restore():
            log.error(
                "%s was deleted or moved while batches wait in it. It was written again; "
                "nothing is lost.",
                file.path,
            )

    def retire(self, file: SpoolFile) -> None:
        """Delete a file that was read to its end, if it came from another worker."""
        with self._lock:
            if self._adopted_files.pop(file.path, None) is not None:
                file.remove()

    def status(self) -> SpoolStatus:
        """The amount of waiting data, of all workers."""
        files = [spool_file.read_status(path) for path in self._paths()]
        since_s = min((since_s for size, since_s in files if size and since_s), default=0)
        return SpoolStatus(sum(size for size, _ in files), since_s)

    def close(self) -> None:
        """Release all files; the next start takes over the records in them."""
        with self._lock:
            for file in self._adopted_files.values():
                file.close()
            self._adopted_files.clear()
            if self._own is not None:
                if self._own.pending_bytes:
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
    except FileNotFoundError:  # another worker has just retired it
        return 0
