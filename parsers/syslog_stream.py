"""Reads messages from a syslog connection over TCP (RFC 6587).

Messages are octet-counted, as Logplex sends them, or end with a newline or, from some senders, a
NUL. The first byte of the connection decides: counts begin with a digit, messages with "<".
"""

from __future__ import annotations

import re

from parsers.framing import FRAME_BYTES_MAX, Damage, FrameReader

_END = re.compile(rb"[\n\0]")
_DIGITS = b"123456789"
_HEADER = re.compile(rb"<[0-9]{1,3}>1 (?:[^ ]+ ){5}[^ ]")  # and the beginning of a text


class MessageReader:
    """Reads messages in either framing from bytes that arrive in pieces of any size."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """
        Args:
            frame_bytes_max: a longer message is damage. This bounds the memory: at most a few
                messages of this size are buffered.
        """
        self._frame_bytes_max = frame_bytes_max
        self._reader: FrameReader | LineReader | None = None

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """Add bytes; returns the messages and damage that are now complete."""
        if self._reader is None:
            data = data.lstrip(b"\r\n\0")
            if not data:
                return []
            reader_type = FrameReader if data[:1] in _DIGITS else LineReader
            self._reader = reader_type(self._frame_bytes_max)
        return self._reader.feed(data)

    @property
    def buffered_bytes(self) -> int:
        """The size of what is incomplete, and therefore kept."""
        return self._reader.buffered_bytes if self._reader is not None else 0

    def end(self, *, is_cut: bool = False) -> list[bytes | Damage]:
        """End the input; returns the remaining messages and damage.

        `is_cut`: the sender may have had more to send.
        """
        if isinstance(self._reader, LineReader):
            return self._reader.end(is_cut=is_cut)
        # A frame that has no end yet is one that the end of the connection cut off.
        return self._reader.end(is_cut=True) if self._reader is not None else []


class LineReader:
    """Reads messages that end with a newline or NUL. Empty ones are skipped."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()  # the beginning of the current line
        self._discarded_bytes = 0  # bytes of the current line if it is too long, then not buffered

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """Add bytes; returns the messages and damage that are now complete."""
        *lines, rest = _END.split(data)
        items = []
        for line in lines:
            items += self._end_line(line)
        self._add(rest)
        return items

    @property
    def buffered_bytes(self) -> int:
        """The size of the incomplete line, as far as it is kept."""
        return len(self._buffer)

    def end(self, *, is_cut: bool = False) -> list[bytes | Damage]:
        """End the input.

        Many senders end the last message with the connection instead of a newline. It is damage if
        its header is not complete, or if the connection was cut.
        """
        size = self._discarded_bytes + len(self._buffer)
        if not self._discarded_bytes and not is_cut and _HEADER.match(self._buffer):
            return self._end_line(b"")
        self._buffer.clear()
        self._discarded_bytes = 0
        return [Damage(size)] if size else []

    def _end_line(self, data: bytes) -> list[bytes | Damage]:
        self._add(data)
        size, message = self._discarded_bytes + len(self._buffer), bytes(self._buffer).rstrip(b"\r")
        is_too_long = self._discarded_bytes > 0
        self._buffer.clear()
        self._discarded_bytes = 0
        if is_too_long:
            return [Damage(size)]
        return [message] if message else []

    def _add(self, data: bytes) -> None:
        if self._discarded_bytes or len(self._buffer) + len(data) > self._frame_bytes_max:
            self._discarded_bytes += len(self._buffer) + len(data)
            self._buffer.clear()
        else:
            self._buffer += data
