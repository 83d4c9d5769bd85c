"""Octet-counted frames (RFC 6587, section 3.4.1): `MSG-LEN SP MSG`, nothing in between, lengths in
bytes.

A reader is fed bytes and gives, in order:

    bytes   the message of a whole frame, without its count
    Damage  a stretch that is no frame; one for all bytes up to the next whole frame

A frame is *whole* when its count is well formed, its bytes are there, and it ends where a frame may
end: at a newline, at the end of the input, or where another frame begins. So

- a body whose counts are right is read exactly, whatever its messages hold;
- a count that is too large or too small costs its own frame and no other.

A newline alone separates nothing: Logplex's L10 frame has none, and a message may hold several.
Frames are walked by their counts, so what is written inside a message, even whole frames, is never
taken for one. After damage the walk goes on at the next `MSG-LEN SP <PRI>1 SP` that is a whole
frame.

Time is linear in the input, in however many pieces it comes: what is asked at one place looks at a
bounded number of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

COUNT_DIGITS_MAX = 7
COUNT_MAX = 10**COUNT_DIGITS_MAX - 1
FRAME_BYTES_MAX = 65_536  # Logplex's messages end at about 10,200 bytes; others' syslog at 64 KiB

_NEWLINE = 0x0A
_ZERO = 0x30
_COUNT = re.compile(rb"([1-9][0-9]{0,6}) ")
_START = re.compile(rb"[1-9][0-9]{0,6} <[0-9]{1,3}>1 ")
_START_BYTES_MAX = 15
# Lenient, for where only the end of the frame before is in question: the next frame may be the
# damaged one.
_FOLLOWS = re.compile(rb"[+-]?[0-9]{0,20} ?<[0-9]{1,3}>1 ")
_LOOKAHEAD_BYTES = 32  # more than _FOLLOWS can match
_DIGITS = re.compile(rb"[0-9]{0,32}")  # of a refused count: as many as the lookahead shows
# What a count that is too large by little takes in: the count of the next frame, or part of it.
_NEXT_COUNT = re.compile(rb"\n[0-9]{1,7} ?\Z")
_NEXT_COUNT_BYTES_MAX = 9
_HOPS = 3  # three counts that lead to each other by chance: less than one in a million

_NOT_WHOLE = 0
_NEEDS_MORE = -1
_WHOLE = 1

_Buffer = TypeVar("_Buffer", bytes, bytearray)


class Damage(NamedTuple):
    """A stretch of `size` bytes that is no frame."""

    size: int


class FrameReader:
    """Takes bytes as they come, in any pieces."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """`frame_bytes_max`: a larger count is taken for a wrong one, so no more than a few frames
        of this size are ever held.
        """
        self._data = bytearray()
        self._walk = _Walk(self._data, frame_bytes_max)

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """What is complete with these bytes."""
        self._data += data
        found = self._found(final=False)
        del self._data[: self._walk.forget()]
        return found

    def end(self) -> list[bytes | Damage]:
        """What is left when no more bytes come."""
        return self._found(final=True)

    def _found(self, *, final: bool) -> list[bytes | Damage]:
        return [
            bytes(item) if isinstance(item, bytearray) else item
            for item in self._walk.items(final=final)
        ]


def split(body: bytes) -> Iterator[bytes | Damage]:
    """The frames of a whole body."""
    return _Walk(body, COUNT_MAX).items(final=True)


class _Walk(Generic[_Buffer]):
    """The walk over `data`, which may grow at its end between two calls."""

    def __init__(self, data: _Buffer, count_max: int) -> None:
        self._data: _Buffer = data
        self._count_max = count_max
        self._position = 0
        self._lost_at = -1  # where the present damage began; -1: in step
        self._passed = 0  # bytes of the present damage that are no longer held
        self._search_at = 0  # where the search for the damage's end goes on

    def items(self, *, final: bool) -> Iterator[_Buffer | Damage]:
        """Frames and damage from where the last walk stopped. `final`: no more bytes will come."""
        data, position, count_max = self._data, self._position, self._count_max
        size = len(data)
        in_step = self._lost_at < 0
        while position < size or not in_step:
            if in_step:
                # The usual frame, a count and a newline at its end, without a call.
                space = data.find(b" ", position, position + COUNT_DIGITS_MAX + 1)
                if space > position:
                    digits = data[position:space]
                    if digits.isdigit() and digits[0] != _ZERO:
                        begin = space + 1
                        end = begin + int(digits)
                        if end <= size and data[end - 1] == _NEWLINE and end - begin <= count_max:
                            yield data[begin:end]
                            position = end
                            continue
                begin, end = _frame(data, position, final, count_max)
                if end > 0:
                    yield data[begin:end]
                    position = end
                    continue
                self._position = position
                if end == _NEEDS_MORE:
                    return
                self._lost_at = position
                # Part of a refused count is no count: not 87 of 287.
                self._search_at = max(position + 1, _end_of_digits(data, position))
            position = self._resynchronise(final)
            if position < 0:
                return
            yield Damage(self._passed + position - self._lost_at)
            self._lost_at, self._passed = -1, 0
            in_step = True
        self._position = position

    def forget(self) -> int:
        """How many bytes at the beginning are no longer needed; the caller takes them off."""
        done = self._position
        if self._lost_at >= 0:
            done = self._search_at
            self._passed += done - self._lost_at
            self._lost_at = self._search_at = 0
        self._position = 0
        return done

    def _resynchronise(self, final: bool) -> int:
        """Where the next whole frame begins, or the data ends; -1 when that cannot be told yet."""
        while match := _START.search(self._data, self._search_at):
            self._search_at = match.start()
            end = _frame(self._data, match.start(), final, self._count_max)[1]
            if end > 0:
                return match.start()
            if end == _NEEDS_MORE:
                return -1
            self._search_at += 1
        if final:
            return len(self._data)
        self._search_at = max(self._search_at, len(self._data) - _START_BYTES_MAX + 1)
        return -1


def _frame(data: bytes | bytearray, position: int, final: bool, count_max: int) -> tuple[int, int]:
    """(begin, end) of the message of the frame at `position`; instead of an end, _NOT_WHOLE or
    _NEEDS_MORE.
    """
    counted = _COUNT.match(data, position)
    if not counted:
        seen = len(data) - position
        digits = _end_of_digits(data, position) - position
        undecided = not final and digits == seen < _LOOKAHEAD_BYTES
        return 0, _NEEDS_MORE if undecided else _NOT_WHOLE
    begin = counted.end()
    count = int(counted[1])
    end = begin + count
    if count > count_max:
        return 0, _NOT_WHOLE
    if end > len(data):
        return 0, _NOT_WHOLE if final else _NEEDS_MORE
    if data[end - 1] == _NEWLINE:
        return begin, end
    verdict = _may_end(data, begin, end, final, count_max)
    return begin, end if verdict == _WHOLE else verdict


def _may_end(data: bytes | bytearray, begin: int, end: int, final: bool, count_max: int) -> int:
    """Whether a message without a newline may end at `end`."""
    rest = len(data) - end
    if rest == 0 and final:
        return _WHOLE
    if rest < _LOOKAHEAD_BYTES and not final:
        return _NEEDS_MORE
    led = _leads_on(data, end, final, count_max)
    if led != _NOT_WHOLE:
        return led
    if not _FOLLOWS.match(data, end) or _NEXT_COUNT.search(
        data, max(begin, end - _NEXT_COUNT_BYTES_MAX), end
    ):
        return _NOT_WHOLE
    # Either the next frame is the damaged one, or this count is, by a digit or two: then the next
    # frame's count begins among the digits around here.
    for start in range(max(begin, end - COUNT_DIGITS_MAX - 1), _end_of_digits(data, end)):
        counted = _START.match(data, start)
        if start != end and counted and counted.end() > end:
            led = _leads_on(data, start, final, count_max)
            if led != _NOT_WHOLE:
                return _NEEDS_MORE if led == _NEEDS_MORE else _NOT_WHOLE
    return _WHOLE


def _leads_on(data: bytes | bytearray, position: int, final: bool, count_max: int) -> int:
    """Whether a frame begins at `position`, going by where its count leads: _WHOLE, _NOT_WHOLE or
    _NEEDS_MORE. What has no syslog header is believed only if its count leads to further counts.
    """
    for _ in range(_HOPS):
        counted = _COUNT.match(data, position)
        if not counted or int(counted[1]) > count_max:
            return _NOT_WHOLE
        end = counted.end() + int(counted[1])
        if end > len(data):
            return _NOT_WHOLE if final else _NEEDS_MORE
        if _START.match(data, position, end) and (
            data[end - 1] == _NEWLINE or _FOLLOWS.match(data, end)
        ):
            return _WHOLE
        rest = len(data) - end
        if rest < _LOOKAHEAD_BYTES and not final:
            return _NEEDS_MORE
        if rest == 0:
            return _WHOLE
        position = end
    return _WHOLE


def _end_of_digits(data: bytes | bytearray, position: int) -> int:
    match = _DIGITS.match(data, position)
    return match.end() if match else position
