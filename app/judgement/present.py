"""The time that the present value of a finding is measured over: one for every place that shows it.

It is the last 5 minutes, with three exceptions:

- A problem that is younger is measured over its own minutes. An app that has been down for two
  minutes fails every request, and not 40 %.
- Of an app that is down, minutes in which most requests succeeded do not count either.
- Where fewer than REQUESTS_MIN requests came, more minutes count: 15, 30 or 60.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from app.judgement.facts import Interval
from app.judgement.window import Window

PRESENT_S = 5 * 60
REQUESTS_MIN = 20
DOWN_SHARE = 0.5

_SPANS_S = (PRESENT_S, 15 * 60, 30 * 60, 60 * 60)


def find_present(
    window: Window,
    since_s: int,
    count: Callable[[Interval], tuple[int, int]],
    *,
    is_down: bool = False,
) -> Sequence[Interval]:
    """The intervals that tell how a problem is now, oldest first; at least the newest one.

    since_s  when the problem began; the interval in which it did counts if most of it lies after
             that, but not for an app that is down
    count    returns the requests of an interval, and the bad ones among them
    """

    def is_own(interval: Interval) -> bool:
        before_s = since_s - interval.start_s
        is_after = before_s <= (0 if is_down else interval.length_s // 2)
        return is_after and interval.start_s not in window.excused_s

    present = [window.last]
    for span_s in _SPANS_S:
        present = [*filter(is_own, window.over(span_s))] or [window.last]
        if sum(count(interval)[0] for interval in present) >= REQUESTS_MIN:
            break

    def is_mostly_bad(interval: Interval) -> bool:
        total, bad = count(interval)
        return not total or bad > DOWN_SHARE * total

    if is_down:
        return [*takewhile(is_mostly_bad, reversed(present))][::-1] or present
    return present


def length_of(present: Sequence[Interval]) -> int:
    """The time from the begin of these intervals to their end, in seconds."""
    return present[-1].end_s - present[0].start_s
