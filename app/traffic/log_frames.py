"""Reads drain bodies from a file: counted frames, also with newlines between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app.traffic.log_line import LogLine
from parsers.framing import COUNT_MAX, Damage, FrameReader
from parsers.samples import ParseError
from parsers.syslog_header import parse_message

_SPACED_COUNT = re.compile(rb"[\r\n]*([1-9][0-9]{0,6}) (?=<[0-9]{1,3}>1 )")


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
