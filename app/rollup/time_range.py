"""A range of time in whole seconds."""

from __future__ import annotations

import msgspec

_END_OF_TIME_S = 2**62


class TimeRange(msgspec.Struct, frozen=True, gc=False):
    """From `start_s` up to and excluding `end_s`, in Unix seconds. An empty range is false."""

    start_s: int
    end_s: int

    def __contains__(self, at_s: object) -> bool:
        return isinstance(at_s, int) and self.start_s <= at_s < self.end_s

    def covers(self, time_range: TimeRange) -> bool:
        """Whether all of `time_range` lies within this one."""
        return self.start_s <= time_range.start_s and time_range.end_s <= self.end_s

    def __bool__(self) -> bool:
        return self.start_s < self.end_s


ALWAYS = TimeRange(0, _END_OF_TIME_S)
NEVER = TimeRange(0, 0)


def since(start_s: int) -> TimeRange:
    """Return the range from `start_s` on, without an end."""
    return TimeRange(start_s, _END_OF_TIME_S)
