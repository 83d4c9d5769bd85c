"""A file of the spool: records appended in order, read back in order, each checked.

    file    = header, record, record, …           numbers are little-endian
    header  = "DYNSPOOL" (8), position (8), since_s (8)
    record  = MARK (4), size of the data (4), CRC-32 of size and data (4), data

`position` is where the first record begins that is still to be read; it moves as records are done
with. `since_s` is when the first of those was written, Unix seconds.

A record is on the disk (fsync) before `append` returns. A crash can leave a last record that is not
whole: it was never acknowledged, and is cut off. A record damaged later is passed over and counted:
reading goes on at the next MARK that begins a whole record.
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
    """What was read: the records' data, where reading goes on, and how many stretches of damage lay
    between.
    """

    records: list[bytes]
    position: int
    damaged: int


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
        """A new file, its name on the disk.

        Raises:
            OSError
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_header(descriptor, HEADER_BYTES, 0)
            os.fsync(descriptor)
            _sync_directory(path.parent)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """A file that its process left behind; None while that process lives, or when another one
        was quicker.
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
        if not os.fstat(descriptor).st_nlink:  # done with, and removed, since we looked
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records that are still to be read."""
        return self._end - self._position

    def append(self, records: Sequence[bytes], now_s: float) -> None:
        """Write records and wait until they are on the disk. All or none of them are kept.

        Raises:
            OSError: the disk did not take them.
        """
        written = b"".join(map(_framed, records))
        with self._lock:
            if self._position == self._end:
                self._since_s = int(now_s)
            try:
                _write_all(self._descriptor, written, self._end)
                _write_header(self._descriptor, self._position, self._since_s)
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, self._end)
                raise
            self._end += len(written)

    def read(self, records_max: int, bytes_max: int) -> Chunk:
        """The next records, at least one if there is any."""
        records: list[bytes] = []
        damaged = 0
        with self._lock:
            position, end = self._position, self._end
            size = 0
            while position < end and len(records) < records_max and size < bytes_max:
                record = self._record(position, end)
                if record is None:
                    after = self._next_whole(position + 1, end)
                    damaged += after < end or not self._is_torn(position, end)
                    position = after
                else:
                    records.append(record)
                    size += len(record)
                    position += _PREFIX.size + len(record)
        return Chunk(records, position, damaged)

    def mark(self, position: int) -> None:
        """Everything before `position` is done with; once that is all, its room is given back."""
        with self._lock:
            self._position = position
            if position >= self._end:
                self._position = self._end = HEADER_BYTES
                self._since_s = 0
                # In this order: of a file that is only a header, no position is believed.
                os.ftruncate(self._descriptor, HEADER_BYTES)
                _write_header(self._descriptor, HEADER_BYTES, 0)
            else:
                _write_header(self._descriptor, position, self._since_s)

    def remove(self) -> None:
        """Delete the file and let go of it."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """Let go of the file: whoever opens it next goes on with it."""
        os.close(self._descriptor)

    def _record(self, position: int, end: int) -> bytes | None:
        """The data of the record at `position`; None when there is no whole one."""
        prefix = os.pread(self._descriptor, _PREFIX.size, position)
        if len(prefix) < _PREFIX.size:
            return None
        mark, size, checksum = _PREFIX.unpack(prefix)
        if mark != MARK or size > min(RECORD_BYTES_MAX, end - position - _PREFIX.size):
            return None
        data = os.pread(self._descriptor, size, position + _PREFIX.size)
        return data if len(data) == size and _checksum(data) == checksum else None

    def _is_torn(self, position: int, end: int) -> bool:
        """Whether the file ends in a record that was not written whole."""
        prefix = os.pread(self._descriptor, _PREFIX.size, position)
        if len(prefix) < _PREFIX.size or not any(prefix):  # a length without data reads as zeros
            return True
        mark, size, _ = _PREFIX.unpack(prefix)
        return bool(mark == MARK and size > end - position - _PREFIX.size)

    def _next_whole(self, position: int, end: int) -> int:
        """Where the next whole record begins, or the end."""
        rest = os.pread(self._descriptor, end - position, position)
        found = rest.find(MARK)
        while found >= 0:
            if self._record(position + found, end) is not None:
                return position + found
            found = rest.find(MARK, found + 1)
        return end


def waiting(path: Path) -> tuple[int, int]:
    """(bytes still to be read, since when) of a file that may be another process'."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, 0
    try:
        position, since_s = _read_header(descriptor)
        return max(0, os.fstat(descriptor).st_size - position), since_s
    finally:
        os.close(descriptor)


def _framed(data: bytes) -> bytes:
    return _PREFIX.pack(MARK, len(data), _checksum(data)) + data


def _checksum(data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(len(data).to_bytes(4, "little")))


def _read_header(descriptor: int) -> tuple[int, int]:
    """(position, since_s). A header that was not written whole stands for a file of which nothing
    was read yet.
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
        written = os.pwrite(descriptor, view, position)
        view = view[written:]
        position += written


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
