"""Reads log lines from a file or from standard input as they arrive.

The beginning of the input decides how it is read: its compression (app.traffic.decompression), its
encoding (app.traffic.text_encoding), and the form of its lines (app.traffic.log_forms). Lines come
in groups, one group or more per read, so a live pipe (`heroku logs --tail | …`) is followed without
delay.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Generator, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from app.support.errors import UserError
from app.traffic.decompression import DamagedData, decompress
from app.traffic.log_forms import LogForm, find_form
from app.traffic.log_line import LogLine
from app.traffic.text_encoding import decode

STDIN = "-"
CHUNK_BYTES = 64 * 1024  # the capacity of a pipe; about 300 lines
HEAD_BYTES_MAX = 16 * 2**20  # searched for a line of Heroku's; other output may come before it
_LINES_SHOWN = 3
_SHOWN_CHARS_MAX = 100


class LogInputError(UserError):
    """The input cannot be opened or read. The message says why."""


class UnknownLogForm(LogInputError):
    """The input is no log of Heroku's in a known form. The message shows how it begins."""

    exit_code = 1


class LogInput:
    """An open file, or standard input for the path "-". A context manager.

    `size` is the size of the file in bytes, None for a pipe. `position` is the number of bytes
    read so far. `form` names the form of the log, its encoding and compression; it is "" until it
    is known.
    """

    def __init__(self, path: str) -> None:
        """
        Raises:
            LogInputError: the file does not exist, is a directory, or may not be read.
        """
        self.path = path
        self.position = 0
        self.form = ""
        try:
            self._fd = sys.stdin.fileno() if path == STDIN else os.open(path, os.O_RDONLY)
            status = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            raise LogInputError(f"cannot read {path}: {_reason(error)}") from error
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise LogInputError(
                f"cannot read {path}: it is a directory. Name files, or - for stdin."
            )
        is_file = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if is_file else None
        self._latest_ms = int((status.st_mtime if is_file else time.time()) * 1000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Standard input stays open."""
        if self.path != STDIN:
            os.close(self._fd)

    def groups(self, idle_s: float | None = None) -> Iterator[list[LogLine]]:
        """Yield the lines of each read, and an empty group after `idle_s` seconds without input.

        Raises:
            LogInputError: reading failed, or compressed data is damaged or cut off.
            UnknownLogForm: no line at the beginning of the input can be read.
        """
        compression, chunks = decompress(self._chunks(idle_s))
        try:
            encoding, chunks = decode(chunks)
            head = bytearray()
            form = yield from self._find_form(head, chunks)
            if form is not None:
                self.form = ", ".join(filter(None, (form.name, encoding, compression)))
                yield from form.read(chain((bytes(head),), chunks))
            elif head.strip():
                raise UnknownLogForm(_describe_unknown(self.path, bytes(head)))
        except DamagedData as error:
            raise LogInputError(f"cannot read {self.path}: {error}") from error

    def _find_form(
        self, head: bytearray, chunks: Iterator[bytes]
    ) -> Generator[list[LogLine], None, LogForm | None]:
        """Read into `head` until the form is known; yields empty groups meanwhile."""
        tried_bytes = 0
        for chunk in chunks:
            head += chunk
            # Trying only when there is twice as much keeps the effort in proportion to the size.
            if len(head) >= 2 * tried_bytes or (not chunk and len(head) > tried_bytes):
                tried_bytes = len(head)
                form = find_form(bytes(head), self._latest_ms, final=False)
                if form is not None:
                    return form
            if len(head) > HEAD_BYTES_MAX:
                break
            yield []
        return find_form(bytes(head), self._latest_ms, final=True)

    def _chunks(self, idle_s: float | None) -> Iterator[bytes]:
        """Yield the bytes of each read, and b"" after `idle_s` seconds without input."""
        while True:
            try:
                if not select.select([self._fd], [], [], idle_s)[0]:
                    yield b""
                    continue
                chunk = os.read(self._fd, CHUNK_BYTES)
            except OSError as error:
                raise LogInputError(f"cannot read {self.path}: {_reason(error)}") from error
            if not chunk:
                return
            self.position += len(chunk)
            yield chunk


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _describe_unknown(path: str, head: bytes) -> str:
    lines = [line for line in head.decode(errors="replace").splitlines() if line.strip()]
    name = "standard input" if path == STDIN else path
    count = f"its {'first ' if len(head) > HEAD_BYTES_MAX else ''}{len(lines):,} lines"
    excerpt = "".join(f"\n  {_printable(line)}" for line in lines[:_LINES_SHOWN])
    return (
        f"{name} is not a log of Heroku's: none of {count} could be read. It begins with:"
        f"{excerpt}\n"
        "Expected the output of heroku logs -n 1500 -a APP, the body of a drain's POST, or an "
        "export of a log service: see docs/cli.md."
    )


def _printable(line: str) -> str:
    text = "".join(character if character.isprintable() else "·" for character in line.strip())
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[: _SHOWN_CHARS_MAX - 1]}…"
