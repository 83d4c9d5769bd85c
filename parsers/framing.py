"""Octet-counted frames (RFC 6587, section 3.4.1): `MSG-LEN SP MSG`, nothing in between, lengths in
bytes.

A reader is fed bytes and gives, in order:

    bytes   the message of a whole frame, without its count
    Damage  a stretch that is no frame; one for all bytes up to the next whole frame

A frame is *whole* when its count is well formed, its bytes are there, and it ends where a frame
must end: at a newline, at the end of the input, or before the beginning of another frame. So a
count that is too large or too small costs its own frame and no other. A newline alone separates
nothing: Logplex's L10 frame has none, and a message may hold several.

Frames are walked by their counts, so what is written inside a message, even whole frames, is never
taken for one. After damage the walk goes on at the next `MSG-LEN SP <PRI>1 SP` that is a whole
frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, cast

COUNT_DIGITS_MAX = 7
COUNT_MAX = 10**COUNT_DIGITS_MAX - 1
FRAME_BYTES_MAX = 65_536  # Logplex's messages end at about 10,200 bytes; others' syslog at 64 KiB

_NEWLINE = 0x0A
_ZERO = 0x30
_START = re.compile(rb"(?<![0-9])[1-9][0-9]{0,6} <[0-9]{1,3}>1 ")
_START_BYTES_MAX = 15
# Lenient where only the end of the frame before is in question: the next frame may be the damaged
# one.
_FOLLOWS = re.compile(rb"[+-]?[0-9]{0,20} ?<[0-9]{1,3}>1 ")
_COUNT = re.compile(rb"([1-9][0-9]{0,6}) ")
# A count that is too large by little takes in the count of the next frame, or its first digits.
_NEXT_COUNT = re.compile(rb"\n[0-9]{1,7} ?\Z")
_NEXT_COUNT_BYTES_MAX = 9
_LOOKAHEAD_BYTES = 32  # more than _FOLLOWS can match

_NOT_WHOLE = 0
_NEEDS_MORE = -1


class Damage(NamedTuple):
    """A stretch of `size` bytes that is no frame."""

    size: int


class FrameReader:
    """Takes bytes as they come, in any pieces."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """`frame_bytes_max`: a larger count is taken for a wrong one, so no more than this is ever
        held.
        """
        self._data: bytes | bytearray = bytearray()
        self._position = 0
        self._lost_at = -1  # where the present damage began, in terms of _data; -1: in step
        self._passed = 0  # bytes of the present damage that are no longer held
        self._search_at = 0
        self._frame_bytes_max = frame_bytes_max

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """What is complete with these bytes."""
        assert isinstance(self._data, bytearray)  # noqa: S101  only split() holds bytes
        self._data += data
        found = self._walked(final=False)
        self._forget()
        return found

    def end(self) -> list[bytes | Damage]:
        """What is left when no more bytes come."""
        return self._walked(final=True)

    def _walked(self, *, final: bool) -> list[bytes | Damage]:
        return [
            bytes(found) if isinstance(found, bytearray) else found
            for found in self.walk(final=final)
        ]

    def _forget(self) -> None:
        """Let go of what is no longer needed, but for one byte before where a search will go on."""
        done = self._position
        if self._lost_at >= 0:
            done = max(self._search_at - 1, self._lost_at)
            self._passed += done - self._lost_at
            self._lost_at = 0
            self._search_at -= done
        del self._data[:done]  # type: ignore[union-attr]  # a bytearray, see feed
        self._position = 0

    def walk(self, *, final: bool) -> Iterator[bytes | bytearray | Damage]:
        """Frames and damage from where the last walk stopped. `final`: no more bytes will come."""
        data, position, count_max = self._data, self._position, self._frame_bytes_max
        size = len(data)
        in_step = self._lost_at < 0
        while position < size or not in_step:
            if in_step:
                # The usual frame, a count and a newline at its end, without a call.
                space = data.find(b" ", position, position + COUNT_DIGITS_MAX + 1)
                digits = data[position:space]
                if digits.isdigit() and space > position and digits[0] != _ZERO:
                    begin = space + 1
                    end = begin + int(digits)
                    if end <= size and data[end - 1] == _NEWLINE and end - begin <= count_max:
                        yield data[begin:end]
                        position = end
                        continue
                begin, end = _whole(data, position, final, count_max)
                if end > 0:
                    yield data[begin:end]
                    position = end
                    continue
                self._position = position
                if end == _NEEDS_MORE:
                    return
                self._lost_at, self._search_at = position, position + 1
            position = self._resynchronise(final)
            if position < 0:
                return
            yield Damage(self._passed + position - self._lost_at)
            self._lost_at, self._passed = -1, 0
            in_step = True
        self._position = position

    def _resynchronise(self, final: bool) -> int:
        """Where the next whole frame begins, or the data ends; -1 when that cannot be told yet."""
        while True:
            match = _START.search(self._data, self._search_at)
            if match is None:
                if final:
                    return len(self._data)
                self._search_at = max(self._search_at, len(self._data) - _START_BYTES_MAX)
                return -1
            self._search_at = match.start()
            end = _whole(self._data, match.start(), final, self._frame_bytes_max)[1]
            if end > 0:
                return match.start()
            if end == _NEEDS_MORE:
                return -1
            self._search_at += 1


def split(body: bytes) -> Iterator[bytes | Damage]:
    """The frames of a whole body."""
    reader = FrameReader(COUNT_MAX)
    reader._data = body
    return cast("Iterator[bytes | Damage]", reader.walk(final=True))


def _whole(data: bytes | bytearray, position: int, final: bool, count_max: int) -> tuple[int, int]:
    """(begin, end) of the message of the frame at `position`; instead of an end, _NOT_WHOLE or
    _NEEDS_MORE.
    """
    space = data.find(b" ", position, position + COUNT_DIGITS_MAX + 1)
    digits = data[position:space] if space > position else b""
    if not digits.isdigit() or digits[0] == _ZERO:
        cut = data[position:]
        if not final and space < 0 and len(cut) <= COUNT_DIGITS_MAX and cut.isdigit():
            return 0, _NEEDS_MORE
        return 0, _NOT_WHOLE
    count = int(digits)
    begin = space + 1
    end = begin + count
    if count > count_max:
        return 0, _NOT_WHOLE
    if end > len(data):
        return 0, _NOT_WHOLE if final else _NEEDS_MORE
    if data[end - 1] == _NEWLINE:
        return begin, end
    if _NEXT_COUNT.search(data, max(begin, end - _NEXT_COUNT_BYTES_MAX), end):
        return 0, _NOT_WHOLE
    return begin, _end_without_newline(data, end, final)


def _end_without_newline(data: bytes | bytearray, end: int, final: bool) -> int:
    """`end`, if a frame may end there: the input ends, or another frame begins."""
    rest = len(data) - end
    if rest == 0 and final:
        return end
    if rest < _LOOKAHEAD_BYTES and not final:
        return _NEEDS_MORE
    if _FOLLOWS.match(data, end) and not data[end - 1 : end + 1].isdigit():
        return end
    following = _COUNT.match(data, end)
    if not following:
        return _NOT_WHOLE
    # A count with no header behind it (frames of junk), or one whose first digits may have been
    # taken for the message's last: believed if it leads to where a frame may end.
    after = following.end() + int(following[1])
    if after <= len(data) and (
        data[after - 1] == _NEWLINE or _COUNT.match(data, after) or _FOLLOWS.match(data, after)
    ):
        return end
    if len(data) - after < _LOOKAHEAD_BYTES and not final:
        return _NEEDS_MORE
    return end if after == len(data) else _NOT_WHOLE
