"""Log lines from a file or from standard input, one by one as they arrive.

Two forms are told apart by how the input begins:

    text     what `heroku logs` prints, one message a line (parsers.heroku_logs_text)
    frames   drain bodies, one or many, also with newlines between them (parsers.framing)

Either may be gzipped. Lines come in groups, as many as one read gave, so that a live pipe
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
CHUNK_BYTES = 64 * 1024  # what a pipe holds; some 300 lines
LINE_BYTES_MAX = 2**20  # Heroku's messages end at about 10 KB; a longer line of text is cut here
_HEAD_BYTES = 16  # a frame's count and the <PRI>1 that follows it
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACED_COUNT = re.compile(rb"[\r\n]*([1-9][0-9]{0,6}) (?=<[0-9]{1,3}>1 )")


class LogInputError(UserError):
    """The input cannot be opened or read; the message says why."""


class LogLine(NamedTuple):
    """One line of text or one frame, read or not.

    `raw` is the line without its end, the frame without its count, or a damaged stretch of frames
    as it stands. `message` is None when it cannot be read, for `reason` (of
    parsers.samples.REASONS).
    """

    raw: bytes
    framed: bool
    message: Message | None
    reason: str = ""


class LogInput:
    """An opened file, or standard input for "-". A context manager.

    `size` is that of the file in bytes, None of a pipe; `position` is how much of it was read.
    """

    def __init__(self, path: str) -> None:
        """
        Raises:
            CannotRead: no such file, a directory, or not permitted.
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
                f"cannot read {path}: it is a directory; name a file, or - for stdin"
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
        """Let go of the file; standard input stays open."""
        if self.path != STDIN:
            os.close(self._fd)

    def groups(self, idle_s: float | None = None) -> Iterator[list[LogLine]]:
        """The lines that each read gave; an empty group whenever nothing came for `idle_s` seconds.

        Raises:
            CannotRead: reading failed, or a gzip stream is damaged or cut off.
        """
        chunks = _inflated(self._chunks(idle_s), self.path)
        head = _gathered(chunks, _HEAD_BYTES)
        rest = chain((head,), chunks)
        yield from _frames(rest) if looks_like_body(head) else _text(rest)

    def _chunks(self, idle_s: float | None) -> Iterator[bytes]:
        """What is read, as it comes; b"" for a while without input."""
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


def _gathered(chunks: Iterator[bytes], size: int) -> bytes:
    """The first `size` bytes or more, without blank lines and a byte order mark before them."""
    head = b""
    for chunk in chunks:
        head = (head + chunk).removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")
        if len(head) >= size:
            break
    return head


def _inflated(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    """The chunks, inflated if they are gzip: one member or several (RFC 1952, section 2.2)."""
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
        data = chunk
        inflated = b""
        while data:
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
            try:
                inflated += inflater.decompress(data)
            except zlib.error as error:
                raise LogInputError(f"cannot read {path}: damaged gzip data ({error})") from error
            data = inflater.unused_data
        if inflated or not chunk:
            yield inflated
    if not inflater.eof:
        raise LogInputError(f"cannot read {path}: the gzip data ends early; copy the file again")


def _text(chunks: Iterable[bytes]) -> Iterator[list[LogLine]]:
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


def _frames(chunks: Iterable[bytes]) -> Iterator[list[LogLine]]:
    reader = FrameReader(COUNT_MAX)  # as the drain reads a body
    unread = bytearray()
    for chunk in chunks:
        unread += chunk
        yield _frame_lines(reader.feed(chunk), unread)
    yield _frame_lines(reader.end(), unread)


def _frame_lines(items: Iterable[bytes | Damage], unread: bytearray) -> list[LogLine]:
    """The lines of these items, whose bytes are taken off `unread`."""
    lines: list[LogLine] = []
    offset = 0
    for item in items:
        if isinstance(item, Damage):
            lines += _damaged_lines(bytes(unread[offset : offset + item.size]))
            offset += item.size
        else:
            lines.append(_frame_line(item))
            offset += len(b"%d " % len(item)) + len(item)
    del unread[:offset]
    return lines


def _damaged_lines(stretch: bytes) -> list[LogLine]:
    """The frames in it, if newlines around them are all the damage there is."""
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
