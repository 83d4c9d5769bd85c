"""Messages of a syslog connection over TCP (RFC 6587): octet-counted, as Logplex sends them, or
ended by newlines or, as some senders do, by NULs. The first byte tells: counts begin with a digit,
messages with "<".
"""

from __future__ import annotations

import re

from parsers.framing import FRAME_BYTES_MAX, Damage, FrameReader

_END = re.compile(rb"[\n\0]")
_DIGITS = b"123456789"


class MessageReader:
    """Takes bytes as they come, in any pieces; gives messages and Damage as FrameReader does."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """`frame_bytes_max`: a longer message is damage, so no more than a few are ever held."""
        self._frame_bytes_max = frame_bytes_max
        self._reader: FrameReader | LineReader | None = None

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """What is complete with these bytes."""
        if self._reader is None:
            data = data.lstrip(b"\r\n\0")
            if not data:
                return []
            counted = data[:1] in _DIGITS
            self._reader = (FrameReader if counted else LineReader)(self._frame_bytes_max)
        return self._reader.feed(data)

    def end(self) -> list[bytes | Damage]:
        """What is left when no more bytes come."""
        return self._reader.end() if self._reader is not None else []


class LineReader:
    """Messages that end with a newline or NUL; empty ones are none."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._held = bytearray()
        self._passed = 0  # bytes of the present line that are too many, and no longer held

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """See MessageReader."""
        *lines, rest = _END.split(data)
        found = []
        for line in lines:
            found += self._line(line)
        self._hold(rest)
        return found

    def end(self) -> list[bytes | Damage]:
        """See MessageReader. What has no end at the end of a connection was cut."""
        size = self._passed + len(self._held)
        self._held.clear()
        self._passed = 0
        return [Damage(size)] if size else []

    def _line(self, line: bytes) -> list[bytes | Damage]:
        self._hold(line)
        size, message = self._passed + len(self._held), bytes(self._held).rstrip(b"\r")
        too_long = self._passed > 0
        self._held.clear()
        self._passed = 0
        if too_long:
            return [Damage(size)]
        return [message] if message else []

    def _hold(self, data: bytes) -> None:
        if self._passed or len(self._held) + len(data) > self._frame_bytes_max:
            self._passed += len(self._held) + len(data)
            self._held.clear()
        else:
            self._held += data
