"""Reads octet-counted frames: `MSG-LEN SP MSG`, with nothing in between and lengths in bytes.

The format is RFC 6587, section 3.4.1. A reader takes bytes and returns, in order:

    bytes   the message of a whole or recovered frame, without its count
    Damage  a stretch of bytes that is not a frame, up to the next whole frame

A frame is *whole* when its count is well formed, all its bytes are there, and it ends at a
permitted place: at a newline, at the end of the input, or where another frame begins. Therefore:

- A body with correct counts is read exactly, whatever its messages contain.
- A count that is too large or too small costs no other frame.

A newline alone separates nothing: Logplex's L10 frame has none, and a message may contain several.
The reader walks from frame to frame by their counts, so frames written inside a message are never
mistaken for real ones.

A body may have been edited after its counts were written, by a person or by a tool that strips or
converts newlines. Where a frame should begin but no whole one does, the message is *recovered* if
its end is beyond doubt:

- It begins with `<PRI>1 SP`, with any number before it or none, and ends at the first newline.
  After that, the next message begins or the input ends.
- Its newline is missing: the next frame begins, or the input ends, one byte before its count says.
- It is the last line, without a newline, and at least as long as its count says: nothing was cut
  off. A connection may end anywhere, so there such a line is damage.

Blanks between messages and at the end are nothing: empty lines, and spaces or tabs after a newline.
Everything else is damage, up to the next `MSG-LEN SP <PRI>1 SP` that begins a whole frame or, at
the beginning of a line, one that can be recovered.

Time is linear in the size of the input, however it is split: the decision at one position looks at
a bounded number of bytes. The search for the end of damage pauses, so that others can run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

COUNT_DIGITS_MAX = 7
COUNT_MAX = 10**COUNT_DIGITS_MAX - 1
# Messages from Logplex have at most about 10,200 bytes; other syslog senders go up to 64 KiB.
FRAME_BYTES_MAX = 65_536

_NEWLINE = 0x0A
_ZERO = 0x30
_COUNT = re.compile(rb"([1-9][0-9]{0,6}) ")
_START = re.compile(rb"[1-9][0-9]{0,6} <[0-9]{1,3}>1 ")
_START_BYTES_MAX = 15
_BLANKS = re.compile(rb"[\r\n \t]*")
_BLANKS_MAX = 64  # so many between two messages are looked over to find where the first one ends
_INDENTATION = re.compile(rb"[ \t]*")
# Where a message can be recovered: a number of any kind, and the header.
_LINE_START = re.compile(rb"([0-9]{1,20} )?<[0-9]{1,3}>1 ")
_LINE_START_PART = re.compile(rb"[0-9]{0,20} ?(?:<[0-9]{0,3}>?1?)?\Z")
# Lenient, because it only decides whether the frame before may end here: the next frame may be the
# damaged one.
_FOLLOWS = re.compile(rb"[+-]?[0-9]{0,20} ?<[0-9]{1,3}>1 ")
_LOOKAHEAD_BYTES = 32  # more than _FOLLOWS or _LINE_START can match
_DIGITS = re.compile(rb"[0-9]{0,32}")  # as many digits of a rejected count as the lookahead shows
# A count that is slightly too large includes the count of the next frame, or part of it.
_NEXT_COUNT = re.compile(rb"\n[0-9]{1,7} ?\Z")
_NEXT_COUNT_BYTES_MAX = 9
_SEARCH_BYTES = 32_768  # between two pauses; about a millisecond, or ten if every byte is hostile
_HOPS = 3  # three counts lead to each other by chance less than once in a million times

_NOT_WHOLE = 0
_NEEDS_MORE = -1
_WHOLE = 1
_PAUSED = -2

_Buffer = TypeVar("_Buffer", bytes, bytearray)


class Damage(NamedTuple):
    """A stretch of `size` bytes that is not a frame, or another one that cannot be used.

    `reason` is one of parsers.samples.REASONS.
    """

    size: int
    reason: str = "frame"


class FrameReader:
    """Reads frames from bytes that arrive in pieces of any size."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """
        Args:
            frame_bytes_max: a larger count is treated as wrong. This bounds the memory: at most a
                few frames of this size are buffered.
        """
        self._data = bytearray()
        self._walk = _Walk(self._data, frame_bytes_max)

    def feed(self, data: bytes) -> list[bytes | Damage]:
        """Add bytes; returns the frames and damage that are now complete."""
        self._data += data
        items = self._read(final=False)
        del self._data[: self._walk.forget()]
        return items

    @property
    def buffered_bytes(self) -> int:
        """The size of what is incomplete, and therefore kept."""
        return len(self._data)

    def end(self, *, is_cut: bool = False) -> list[bytes | Damage]:
        """End the input; returns the remaining frames and damage.

        `is_cut`: the sender may have had more to send.
        """
        self._walk.is_cut = is_cut
        return self._read(final=True)

    def _read(self, *, final: bool) -> list[bytes | Damage]:
        return [
            bytes(item) if isinstance(item, bytearray) else item
            for item in self._walk.items(final=final)
            if item is not None
        ]


def split(body: bytes) -> Iterator[bytes | Damage]:
    """Yield the frames and damage of a complete body."""
    return filter(None, _Walk(body, COUNT_MAX).items(final=True))


def split_in_steps(body: bytes, frames_max: int) -> Iterator[list[bytes | Damage]]:
    """Yield the frames and damage of a complete body in steps of some milliseconds.

    A step has at most `frames_max` of them, and none if only damage was searched.
    """
    step: list[bytes | Damage] = []
    for item in _Walk(body, COUNT_MAX).items(final=True):
        if item is not None:
            step.append(item)
        if item is None or len(step) == frames_max:
            yield step
            step = []
    if step:
        yield step


class _Walk(Generic[_Buffer]):
    """Walks over `data` from frame to frame. `data` may grow at its end between two calls."""

    def __init__(self, data: _Buffer, count_max: int) -> None:
        self._data: _Buffer = data
        self._count_max = count_max
        self._position = 0
        self._damage_start = -1  # where the current damage begins; -1 outside of damage
        self._forgotten_bytes = 0  # size of the part of the current damage that data no longer has
        self._search_start = 0  # where the search for the end of the damage resumes
        self._newline = 0  # a newline, or how far there is none: no byte is searched twice
        self.is_cut = False  # whether the input may end within a message

    def items(self, *, final: bool) -> Iterator[_Buffer | Damage | None]:
        """Yield frames and damage from where the last call stopped; None for a pause in a search.

        `final` means that no more bytes will come.
        """
        data, position, count_max = self._data, self._position, self._count_max
        size = len(data)
        in_step = self._damage_start < 0
        while position < size or not in_step:
            if in_step:
                # Fast path for almost every frame, inlined to save a call: a plain count, and a
                # newline at the end.
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
                blanks_end = _end_of(_BLANKS, data, position)
                if blanks_end > position:
                    position = blanks_end
                    continue
                begin, end = _frame(data, position, final, count_max)
                if end == _NOT_WHOLE:
                    begin, end = self._recover(position, final)
                if end > 0:
                    yield data[begin:end]
                    position = end
                    continue
                self._position = position
                if end == _NEEDS_MORE:
                    return
                self._damage_start = position
                # Skip the remaining digits of a rejected count: the 87 of 287 is not a count.
                self._search_start = max(position + 1, _end_of(_DIGITS, data, position))
            position = self._resynchronise(final)
            if position == _PAUSED:
                in_step = False
                yield None
                continue
            if position < 0:
                return
            yield Damage(self._forgotten_bytes + position - self._damage_start)
            self._damage_start, self._forgotten_bytes = -1, 0
            in_step = True
        self._position = position

    def forget(self) -> int:
        """Return how many leading bytes of `data` the caller must now delete."""
        size = self._position
        if self._damage_start >= 0:
            # What precedes the next start tells whether it is at the beginning of a line.
            size = max(self._damage_start, self._search_start - _BLANKS_MAX - 1)
            self._forgotten_bytes += size - self._damage_start
            self._damage_start = 0
            self._search_start -= size
        self._position = 0
        self._newline = max(0, self._newline - size)
        return size

    def _recover(self, position: int, final: bool) -> tuple[int, int]:
        """(begin, end) of the message at `position`, where no whole frame begins.

        `end` is _NOT_WHOLE or _NEEDS_MORE as for `_frame`.
        """
        data = self._data
        start = _LINE_START.match(data, position)
        if not start:
            may_become_start = not final and _LINE_START_PART.match(data, position)
            return 0, _NEEDS_MORE if may_become_start else _NOT_WHOLE
        begin = position if start[1] is None else start.end(1)
        end = self._line_end(begin, final)
        if end == _NOT_WHOLE and final and self._ends_with_input(begin, int(start[1] or 0)):
            end = len(data)
        if end != _NOT_WHOLE:
            return begin, end
        count = _COUNT.match(data, position)
        if not count or int(count[1]) > self._count_max:
            return 0, _NOT_WHOLE
        end = count.end() + int(count[1]) - 1
        verdict = _judge_lost_newline(data, end, final, self._count_max)
        return begin, end if verdict == _WHOLE else verdict

    def _line_end(self, begin: int, final: bool) -> int:
        """The end of the line from `begin`, if the next message begins after it, and none in it.

        Otherwise _NOT_WHOLE or _NEEDS_MORE.
        """
        data, size = self._data, len(self._data)
        newline = data.find(b"\n", max(begin, self._newline))
        self._newline = newline if newline >= 0 else size
        end = self._newline + 1
        if end - begin > self._count_max:
            return _NOT_WHOLE
        if newline < 0:
            return _NOT_WHOLE if final else _NEEDS_MORE
        if _START.search(data, begin, end):
            return _NOT_WHOLE
        next_start = _end_of(_BLANKS, data, end, end + _BLANKS_MAX)
        if _LINE_START.match(data, next_start) or next_start - end == _BLANKS_MAX:
            return end
        if size - next_start < _LOOKAHEAD_BYTES and not final:
            return _NEEDS_MORE
        return end if next_start == size else _NOT_WHOLE

    def _ends_with_input(self, begin: int, count: int) -> bool:
        """Whether the message from `begin` is the last line, and has as many bytes as it says."""
        data, size = self._data, len(self._data)
        return (
            not self.is_cut
            and self._newline == size
            and count <= size - begin <= self._count_max
            and not _START.search(data, begin)
        )

    def _begins_line(self, position: int) -> bool:
        """Whether there is only indentation before `position` in its line."""
        newline = self._data.rfind(b"\n", max(0, position - _BLANKS_MAX - 1), position)
        return newline >= 0 and _end_of(_INDENTATION, self._data, newline + 1, position) == position

    def _resynchronise(self, final: bool) -> int:
        """Start of the next message, or end of the data; _NEEDS_MORE if more bytes must decide.

        _PAUSED if it has to be called again. A message that has to be recovered is only looked for
        at the beginning of a line.
        """
        data = self._data
        pause = self._search_start + _SEARCH_BYTES
        while match := _START.search(data, self._search_start, pause):
            self._search_start = start = match.start()
            end = _frame(data, start, final, self._count_max)[1]
            if end == _NOT_WHOLE and self._begins_line(start):
                end = self._recover(start, final)[1]
            if end > 0:
                return start
            if end == _NEEDS_MORE:
                return _NEEDS_MORE
            self._search_start += 1
        end = min(pause, len(data))
        if end == len(data) and final:
            return end
        self._search_start = max(self._search_start, end - _START_BYTES_MAX + 1)
        return _PAUSED if end == pause else _NEEDS_MORE


def _frame(data: bytes | bytearray, position: int, final: bool, count_max: int) -> tuple[int, int]:
    """(begin, end) of the message of the frame at `position`.

    `end` is _NOT_WHOLE if no whole frame begins there, _NEEDS_MORE if more bytes must decide.
    """
    match = _COUNT.match(data, position)
    if not match:
        available = len(data) - position
        digits = _end_of(_DIGITS, data, position) - position
        may_become_count = not final and digits == available < _LOOKAHEAD_BYTES
        return 0, _NEEDS_MORE if may_become_count else _NOT_WHOLE
    begin = match.end()
    count = int(match[1])
    end = begin + count
    if count > count_max:
        return 0, _NOT_WHOLE
    if end > len(data):
        return 0, _NOT_WHOLE if final else _NEEDS_MORE
    if data[end - 1] == _NEWLINE:
        return begin, end
    verdict = _judge_end(data, begin, end, final, count_max)
    return begin, end if verdict == _WHOLE else verdict


def _judge_end(data: bytes | bytearray, begin: int, end: int, final: bool, count_max: int) -> int:
    """Whether a message without a newline may end at `end`: _WHOLE, _NOT_WHOLE or _NEEDS_MORE."""
    rest = len(data) - end
    if rest == 0 and final:
        return _WHOLE
    if rest < _LOOKAHEAD_BYTES and not final:
        return _NEEDS_MORE
    verdict = _judge_start(data, end, final, count_max)
    if verdict != _NOT_WHOLE:
        return verdict
    if not _FOLLOWS.match(data, end) or _NEXT_COUNT.search(
        data, max(begin, end - _NEXT_COUNT_BYTES_MAX), end
    ):
        return _NOT_WHOLE
    # Either the next frame is damaged, or this count is wrong by a digit or two. In the second case
    # the count of the next frame begins among the digits around here.
    for start in range(max(begin, end - COUNT_DIGITS_MAX - 1), _end_of(_DIGITS, data, end)):
        match = _START.match(data, start)
        if start != end and match and match.end() > end:
            verdict = _judge_start(data, start, final, count_max)
            if verdict == _NOT_WHOLE and start == end - 1:
                verdict = _judge_lost_newline(data, start, final, count_max)
            if verdict != _NOT_WHOLE:
                return _NEEDS_MORE if verdict == _NEEDS_MORE else _NOT_WHOLE
    return _WHOLE


def _judge_start(data: bytes | bytearray, position: int, final: bool, count_max: int) -> int:
    """Whether a frame begins at `position`: _WHOLE, _NOT_WHOLE or _NEEDS_MORE.

    The count decides, by the position it leads to. A frame without a syslog header is accepted
    only if its count leads to further counts.
    """
    for _ in range(_HOPS):
        match = _COUNT.match(data, position)
        if not match or int(match[1]) > count_max:
            return _NOT_WHOLE
        end = match.end() + int(match[1])
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


def _judge_lost_newline(data: bytes | bytearray, end: int, final: bool, count_max: int) -> int:
    """Whether a message ends at `end`, one byte early: _WHOLE, _NOT_WHOLE or _NEEDS_MORE.

    The frames after it may lack their newlines too.
    """
    for _ in range(_HOPS):
        if end > len(data):
            return _NOT_WHOLE if final else _NEEDS_MORE
        if end == len(data) and final:
            return _WHOLE
        if len(data) - end < _START_BYTES_MAX and not final:
            return _NEEDS_MORE
        count = _COUNT.match(data, end)
        if not count or not _START.match(data, end) or int(count[1]) > count_max:
            return _NOT_WHOLE
        verdict = _judge_start(data, end, final, count_max)
        if verdict != _NOT_WHOLE:
            return verdict
        end = count.end() + int(count[1]) - 1
    return _WHOLE


def _end_of(
    pattern: re.Pattern[bytes], data: bytes | bytearray, position: int, limit: int = sys.maxsize
) -> int:
    match = pattern.match(data, position, limit)
    return match.end() if match else position
