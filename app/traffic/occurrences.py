"""When something occurred in a log, and how often: errors of one code, events of one kind."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

MINUTES_MAX = 20_000  # two weeks with an error each minute; then only the busiest half stays
DETAILS_MAX = 1_000  # different details; further ones only count
_MINUTE_S = 60


class Peak(NamedTuple):
    """The minute with the most occurrences, in Unix seconds; the first of several."""

    minute_s: int
    times: int


class Occurrences:
    """A count with the first and last time, the busiest minute, and details by name."""

    def __init__(self) -> None:
        self.count = 0
        self.first_s = self.last_s = 0
        self.details: Counter[str] = Counter()
        self._minutes: Counter[int] = Counter()

    def add(self, at_s: int, count: int, detail: str = "") -> None:
        """Add occurrences at a time. Times may come in any order."""
        self.first_s = min(at_s, self.first_s) if self.count else at_s
        self.last_s = max(at_s, self.last_s) if self.count else at_s
        self.count += count
        self._minutes[at_s // _MINUTE_S * _MINUTE_S] += count
        if len(self._minutes) > MINUTES_MAX:
            self._minutes = Counter(dict(self._minutes.most_common(MINUTES_MAX // 2)))
        if detail and (detail in self.details or len(self.details) < DETAILS_MAX):
            self.details[detail] += count

    @property
    def peak(self) -> Peak:
        """The busiest minute."""
        minute_s, count = min(self._minutes.items(), key=lambda item: (-item[1], item[0]))
        return Peak(minute_s, count)
