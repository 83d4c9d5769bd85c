"""Repairs the append-only files of a Redis or Valkey server before it starts.

A crash may leave the end of a file torn, a full disk a part of a command, a power loss zeros.
Servers read such files in ways that count twice: of a transaction that lacks its end, Redis and
Valkey before 9.1.2 remove only the last, torn command, and append later writes to the open
transaction. (https://github.com/valkey-io/valkey/pull/4342.) Before zeros they refuse to start.

So a file is cut behind its last whole command outside a transaction, before any server reads it.
What is cut off is kept in DAMAGED. The format: https://redis.io/docs/latest/operate/oss_and_stack/
management/persistence/ and, of the commands, the Redis serialization protocol.
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

DIRECTORY = "appendonlydir"  # the servers' own name for it
DAMAGED = "damaged"
ARGUMENTS_MAX = 1 << 20
MANIFEST = "appendonly.aof.manifest"
_NUMBER_DIGITS_MAX = 10
_COPY_BYTES = 1 << 20


class DamagedPart(NamedTuple):
    """A part of a file that was set aside.

    Attributes:
        path: where it is now.
        size: in bytes.
        written_s: when its file was last written, in Unix seconds.
    """

    path: Path
    size: int
    written_s: int

    def __str__(self) -> str:
        return (
            f"The store's files were damaged at their end, as a crash or a power loss leaves them. "
            f"The last {self.size:,} bytes, written until "
            f"{datetime.fromtimestamp(self.written_s, UTC):%Y-%m-%d %H:%M:%S} UTC, are missing "
            f"from the counts and were moved to {self.path}. Delete that file to end this notice."
        )


def repair(data_dir: Path) -> list[DamagedPart]:
    """Cut the append-only files of a directory behind the last write that is whole.

    Only the files since the last snapshot are read: the server checks the snapshot by a checksum.
    Files behind a damaged one are set aside as well, since their commands rely on earlier ones.

    Raises:
        OSError: a file cannot be read or written.
    """
    damaged: list[DamagedPart] = []
    for path in _incremental_files(data_dir / DIRECTORY):
        valid = 0 if damaged else _read_valid_length(path)
        if valid < path.stat().st_size:
            damaged.append(_set_aside(path, valid, data_dir / DAMAGED))
    return damaged


def damaged_parts(data_dir: Path) -> list[DamagedPart]:
    """The parts that were set aside and not deleted since, oldest first."""
    paths = sorted((data_dir / DAMAGED).glob("*.aof"))
    return [
        DamagedPart(path, status.st_size, int(status.st_mtime))
        for path in paths
        for status in [path.stat()]
    ]


def _incremental_files(directory: Path) -> Iterator[Path]:
    """The files of commands that the manifest names, in their order.

    Its lines read "file NAME seq NUMBER type KIND", and since Redis 8 more such pairs; the kind of
    these files is i.
    """
    try:
        lines = (directory / MANIFEST).read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        words = line.split()
        fields = dict(zip(words[0::2], words[1::2], strict=False))
        if fields.get("type") == "i" and "file" in fields:
            path = directory / fields["file"]
            if path.exists():  # else the server says so
                yield path


def _read_valid_length(path: Path) -> int:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return 0  # there is no empty mmap
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return valid_length(data)


def _set_aside(path: Path, valid: int, directory: Path) -> DamagedPart:
    """Move what is behind the valid part to another directory."""
    status = path.stat()
    directory.mkdir(mode=0o700, exist_ok=True)
    at = datetime.now(UTC)
    part = directory / f"{at:%Y%m%dT%H%M%S.%f}-{path.name.removesuffix('.aof')}-from-{valid}.aof"
    with path.open("rb+") as file, part.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        file.seek(valid)
        shutil.copyfileobj(file, copy, _COPY_BYTES)
        copy.flush()
        os.fsync(copy.fileno())
        file.truncate(valid)
        file.flush()
        os.fsync(file.fileno())
    os.utime(part, (status.st_mtime, status.st_mtime))
    return DamagedPart(part, status.st_size - valid, int(status.st_mtime))


# --- reading commands ---------------------------------------------------------------------------


def valid_length(data: bytes | mmap.mmap) -> int:
    """The length in bytes of the whole commands at the start, without an open transaction."""
    at = valid = 0
    in_transaction = False
    size = len(data)
    while at < size:
        try:
            at, name = _read_command(data, at)
        except ValueError:
            break
        if name == b"multi":
            in_transaction = True
        elif name == b"exec":
            in_transaction = False
        if not in_transaction:
            valid = at
    return valid


def _read_command(data: bytes | mmap.mmap, at: int) -> tuple[int, bytes]:
    """The position behind a command or comment, and the command's name in lower case.

    Raises:
        ValueError: it is not whole.
    """
    if data[at : at + 1] == b"#":  # such as the time, where the server is set to write it
        end = data.find(b"\r\n", at)
        if end < 0:
            raise ValueError("no end of line")
        return end + 2, b""
    at, count = _read_number(data, at, b"*")
    if not 1 <= count <= ARGUMENTS_MAX:
        raise ValueError("no command")
    name = b""
    for position in range(count):
        at, size = _read_number(data, at, b"$")
        end = at + size
        if data[end : end + 2] != b"\r\n":
            raise ValueError("no end of the argument")
        if not position and size <= len(b"multi"):
            name = data[at:end].lower()
        at = end + 2
    return at, name


def _read_number(data: bytes | mmap.mmap, at: int, mark: bytes) -> tuple[int, int]:
    """The position behind a line such as "*3" or "$12", and its number."""
    end = data.find(b"\r\n", at, at + _NUMBER_DIGITS_MAX + 3)
    digits = data[at + 1 : end]
    if end < 0 or data[at : at + 1] != mark or not digits.isdigit():
        raise ValueError("no number")
    return end + 2, int(digits)
