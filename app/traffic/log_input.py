"""Reads log lines from a file or from standard input as they arrive.

The beginning of the input decides between two forms:

    text     lines as `heroku logs` prints them (parsers.heroku_logs_text)
    frames   one or more drain bodies, with or without newlines between them (parsers.framing)

Either may be gzipped. Lines come in groups, one group per read, so a live pipe
(`heroku logs --tail | …`) is followed without delay.
"""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self

from app.support.errors import UserError
from parsers.framing import COUNT_MAX, Damage, FrameReader
from parsers.heroku_logs_text import looks_like_body, parse_line
from parsers.samples import ParseError
from parsers.syslog_header import Message, parse_message

STDIN = "-"
CHUNK_BYTES = 64 * 1024  # the capacity of a pipe; about 300 lines
LINE_BYTES_MAX = 2**20  # Heroku's messages have at most about 10 KB; a longer line of text is cut
_HEAD_BYTES = 16  # a frame's count and the <PRI>1 that follows it
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACED_COUNT = re.compile(rb"[\r\n]*([1-9][0-9]{0,6}) (?=<[0-9]{1,3}>1 )")


class LogInputError(UserError):
    """The input cannot be opened or read. The message says why."""


class LogLine(NamedTuple):
    """One line of text or one frame, readable or not.

    `raw` is the line without its end, the frame without its count, or a damaged stretch of frames
    unchanged. If it cannot be parsed, `message` is None and `reason` is a key of
    parsers.samples.REASONS.
    """

    raw: bytes
    is_frame: bool
    message: Message | None
    reason: str = ""


class LogInput:
    """An open file, or standard input for the path "-". A context manager.

    `size` is the size of the file in bytes, None for a pipe. `position` is the number of bytes
    read so far.
    """

    def __init__(self, path: str) -> None:
        """
        Raises:
            LogInputError: the file does not exist, is a directory, or may not be read.
        """
        self.path = path
        self.position = 0
        try:
            self._fd = sys.stdin.fileno() if path == STDIN else os.open(path, os.O_RDONLY)
            status = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            raise LogInputError(f"cannot read {path}: {_reason(error)}") from error
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise LogInputError(
                f"cannot read {path}: it is a directory. Name a file, or - for stdin."
            )
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None

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
            LogInputError: reading failed, or a gzip stream is damaged or cut off.
        """
        chunks = _inflate(self._chunks(idle_s), self.path)
        head = _read_head(chunks, _HEAD_BYTES)
        rest = chain((head,), chunks)
        yield from _read_frames(rest) if looks_like_body(head) else _read_text(rest)

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


def _read_head(chunks: Iterator[bytes], size: int) -> bytes:
    """The first `size` bytes or more, without blank lines and a byte order mark before them."""
    head = b""
    for chunk in chunks:
        head = (head + chunk).removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")
        if len(head) >= size:
            break
    return head


def _inflate(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    """Yield the chunks, inflated if they are gzip with any number of members.

    Source: RFC 1952, section 2.2.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_GZIP_MAGIC):
            break
    if not head.startswith(_GZIP_MAGIC):
        yield from chain((head,), chunks)
        return
    inflater = zlib.decompressobj(wbits=31)
    for chunk in chain((head,), chunks):
        rest = chunk
        data = b""
        while rest:
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
            try:
                data += inflater.decompress(rest)
            except zlib.error as error:
                raise LogInputError(f"cannot read {path}: damaged gzip data ({error})") from error
            rest = inflater.unused_data
        if data or not chunk:
            yield data
    if not inflater.eof:
        raise LogInputError(f"cannot read {path}: the gzip data ends early. Copy the file again.")


def _read_text(chunks: Iterable[bytes]) -> Iterator[list[LogLine]]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest)
            rest = b""
        yield [_text_line(line) for line in lines if line.strip()]
    if rest.strip():
        yield [_text_line(rest)]


def _text_line(line: bytes) -> LogLine:
    try:
        return LogLine(line, False, parse_line(line))
    except ParseError as error:
        return LogLine(line, False, None, error.reason)


def _read_frames(chunks: Iterable[bytes]) -> Iterator[list[LogLine]]:
    reader = FrameReader(COUNT_MAX)  # the limit that the drain uses
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        yield _frame_lines(reader.feed(chunk), pending)
    yield _frame_lines(reader.end(), pending)


def _frame_lines(items: Iterable[bytes | Damage], pending: bytearray) -> list[LogLine]:
    """The lines of these items. Removes their bytes from `pending`."""
    lines: list[LogLine] = []
    offset = 0
    for item in items:
        if isinstance(item, Damage):
            lines += _damaged_lines(bytes(pending[offset : offset + item.size]))
            offset += item.size
        else:
            lines.append(_frame_line(item))
            offset += len(b"%d " % len(item)) + len(item)
    del pending[:offset]
    return lines


def _damaged_lines(stretch: bytes) -> list[LogLine]:
    """The lines of a damaged stretch: its frames, if it is only damaged by newlines around them."""
    frames: list[bytes] = []
    position = 0
    while match := _SPACED_COUNT.match(stretch, position):
        position = match.end() + int(match[1])
        frames.append(stretch[match.end() : position])
    if position > len(stretch) or stretch[position:].strip(b"\r\n"):
        return [LogLine(stretch, False, None, "frame")]
    return [_frame_line(frame) for frame in frames]


def _frame_line(frame: bytes) -> LogLine:
    try:
        return LogLine(frame, True, parse_message(frame))
    except ParseError as error:
        return LogLine(frame, True, None, error.reason)
