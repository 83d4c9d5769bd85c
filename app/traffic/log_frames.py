"""Reads drain bodies from a file: counted frames, also with newlines between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.traffic.log_line import LogLine
from parsers.framing import COUNT_MAX, Damage, FrameReader
from parsers.samples import ParseError
from parsers.syslog_header import parse_message

_BLANKS = b"\r\n \t"  # which a stretch of damage does not begin with


def read_frames(chunks: Iterable[bytes]) -> Iterator[list[LogLine]]:
    """Yield the lines of each chunk."""
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
            while pending[offset] in _BLANKS:
                offset += 1
            stretch = bytes(pending[offset : offset + item.size])
            lines.append(LogLine(stretch, False, None, "frame"))
            offset += item.size
        else:
            lines.append(_frame_line(item))
            offset = pending.index(item, offset) + len(item)
    del pending[:offset]
    return lines


def _frame_line(frame: bytes) -> LogLine:
    try:
        return LogLine(frame, True, parse_message(frame))
    except ParseError as error:
        return LogLine(frame, True, None, error.reason)
