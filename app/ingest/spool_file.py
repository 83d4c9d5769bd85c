"""A file of the spool: records are appended in order and read back in order, with checksums.

    file    = header, record, record, …           numbers are little-endian
    header  = "DYNSPOOL" (8), position (8), since_s (8)
    record  = MARK (4), size of the data (4), CRC-32 of size and data (4), data

`position` is the start of the first unread record; it advances as records are processed. `since_s`
is the time at which that record was written, in Unix seconds.

A record is synced to disk (fsync) before `append` returns. A crash can leave an incomplete last
record. It was never acknowledged, and is cut off. A record that was damaged later is skipped and
counted; reading continues at the next MARK that begins a complete record.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

MAGIC = b"DYNSPOOL"
MARK = b"\xd1\x0b\x5e\x01"
RECORD_BYTES_MAX = 64 * 2**20

_HEADER = struct.Struct("<8sQQ")
_PREFIX = struct.Struct("<4sII")
HEADER_BYTES = _HEADER.size


class Chunk(NamedTuple):
    """Records that were read from a file."""

    records: list[bytes]
    position: int  # of the next record
    damage_count: int  # contiguous damaged stretches that were skipped


class SpoolFile:
    """One file, locked by this process until closed. Safe to use from several threads."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._end = max(HEADER_BYTES, os.fstat(descriptor).st_size)
        self._position, self._since_s = _read_header(descriptor)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create a file, and sync its name to disk.

        Raises:
            OSError: the file cannot be created.
        """
        return cls(path, _create(path, _HEADER.pack(MAGIC, HEADER_BYTES, 0)))

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Open a file that was left by a process that has ended.

        Returns None while that process lives, or if another process has adopted the file.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if not os.fstat(descriptor).st_nlink:  # retired and removed between open and lock
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    @property
    def pending_bytes(self) -> int:
        """Bytes of unread records."""
        return self._end - self._position

    def append(self, records: Sequence[bytes], now_s: float) -> None:
        """Write records and sync them to disk; all of them or none.

        Raises:
            OSError: the records could not be written.
        """
        data = b"".join(map(_frame, records))
        with self._lock:
            if self._position == self._end:
                self._since_s = int(now_s)
            try:
                _write_all(self._descriptor, data, self._end)
                _write_header(self._descriptor, self._position, self._since_s)
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, self._end)
                raise
            self._end += len(data)

    def restore(self) -> bool:
        """Write the file again if somebody has deleted or moved it; return whether that was so.

        What was written to a deleted file would be lost with this process.

        Raises:
            OSError: the file could not be written.
        """
        with self._lock:
            if _is_at(self._descriptor, self.path):
                return False
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _create(self.path, os.pread(self._descriptor, self._end, 0))
            os.close(self._descriptor)
            self._descriptor = descriptor
            return True

    def read(self, records_max: int, bytes_max: int) -> Chunk:
        """Read the next records; at least one if there is any, even beyond `bytes_max`."""
        records: list[bytes] = []
        damage_count = 0
        with self._lock:
            position, end = self._position, self._end
            size = 0
            while position < end and len(records) < records_max and size < bytes_max:
                record = self._record(position, end)
                if record is None:
                    next_position = self._find_record(position + 1, end)
                    damage_count += next_position < end or not self._is_torn(position, end)
                    position = next_position
                else:
                    records.append(record)
                    size += len(record)
                    position += _PREFIX.size + len(record)
        return Chunk(records, position, damage_count)

    def advance(self, position: int) -> None:
        """Mark everything before `position` as processed; at the end, the disk space is freed."""
        with self._lock:
            self._position = position
            if position >= self._end:
                self._position = self._end = HEADER_BYTES
                self._since_s = 0
                # In this order: after a crash in between, the position in the header lies beyond
                # the end of the file, and is ignored.
                os.ftruncate(self._descriptor, HEADER_BYTES)
                _write_header(self._descriptor, HEADER_BYTES, 0)
            else:
                _write_header(self._descriptor, position, self._since_s)

    def remove(self) -> None:
        """Delete and close the file."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """Close the file; the next process that opens it continues at the same position."""
        os.close(self._descriptor)

    def _record(self, position: int, end: int) -> bytes | None:
        """The data of the record at `position`; None if there is no complete one."""
        prefix = os.pread(self._descriptor, _PREFIX.size, position)
        if len(prefix) < _PREFIX.size:
            return None
        mark, size, checksum = _PREFIX.unpack(prefix)
        if mark != MARK or size > min(RECORD_BYTES_MAX, end - position - _PREFIX.size):
            return None
        data = os.pread(self._descriptor, size, position + _PREFIX.size)
        return data if len(data) == size and _checksum(data) == checksum else None

    def _is_torn(self, position: int, end: int) -> bool:
        """Whether the rest of the file is a record that was not written completely."""
        prefix = os.pread(self._descriptor, _PREFIX.size, position)
        if len(prefix) < _PREFIX.size or not any(prefix):  # unwritten blocks are zeros
            return True
        mark, size, _ = _PREFIX.unpack(prefix)
        return bool(mark == MARK and size > end - position - _PREFIX.size)

    def _find_record(self, position: int, end: int) -> int:
        """The start of the next complete record; `end` if there is none."""
        rest = os.pread(self._descriptor, end - position, position)
        offset = rest.find(MARK)
        while offset >= 0:
            if self._record(position + offset, end) is not None:
                return position + offset
            offset = rest.find(MARK, offset + 1)
        return end


def read_status(path: Path) -> tuple[int, int]:
    """(unread bytes, `since_s`) of a file that may belong to another process."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, 0
    try:
        position, since_s = _read_header(descriptor)
        return max(0, os.fstat(descriptor).st_size - position), since_s
    finally:
        os.close(descriptor)


def _create(path: Path, data: bytes) -> int:
    """Create a locked file with this data, sync it and its name to disk; return its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_all(descriptor, data, 0)
        os.fsync(descriptor)
        _sync_directory(path.parent)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether this open file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _frame(data: bytes) -> bytes:
    return _PREFIX.pack(MARK, len(data), _checksum(data)) + data


def _checksum(data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(len(data).to_bytes(4, "little")))


def _read_header(descriptor: int) -> tuple[int, int]:
    """Read (position, since_s).

    An incomplete or damaged header is that of a file of which nothing was read yet.
    """
    header = os.pread(descriptor, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES:
        return HEADER_BYTES, 0
    magic, position, since_s = _HEADER.unpack(header)
    size = os.fstat(descriptor).st_size
    if magic != MAGIC or not HEADER_BYTES <= position <= max(HEADER_BYTES, size):
        return HEADER_BYTES, 0
    return position, since_s


def _write_header(descriptor: int, position: int, since_s: int) -> None:
    _write_all(descriptor, _HEADER.pack(MAGIC, position, since_s), 0)


def _write_all(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        size = os.pwrite(descriptor, view, position)
        view = view[size:]
        position += size


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
