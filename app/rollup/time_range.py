"""A stretch of time in whole minutes."""

from __future__ import annotations

import msgspec

_END_OF_TIME_S = 2**62


class TimeRange(msgspec.Struct, frozen=True, gc=False):
    """From `start_s` until before `end_s`, Unix seconds; false when nothing lies in it."""

    start_s: int
    end_s: int

    def __contains__(self, at_s: object) -> bool:
        return isinstance(at_s, int) and self.start_s <= at_s < self.end_s

    def covers(self, other: TimeRange) -> bool:
        """Whether all of `other` lies within."""
        return self.start_s <= other.start_s and other.end_s <= self.end_s

    def __bool__(self) -> bool:
        return self.start_s < self.end_s


ALWAYS = TimeRange(0, _END_OF_TIME_S)
NEVER = TimeRange(0, 0)


def since(start_s: int) -> TimeRange:
    """From `start_s` on."""
    return TimeRange(start_s, _END_OF_TIME_S)
