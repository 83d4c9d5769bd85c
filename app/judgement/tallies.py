"""Sums of requests, and of the bad ones among them, over the last minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import NamedTuple

from app.judgement.binomial import is_share_above
from app.judgement.facts import Interval
from app.judgement.onset import Tally
from app.judgement.window import HISTORY_S, Window

SPANS_S = (120, 300, 900, 1800, 3600)
BAD_MIN = 3  # requests
BAD_TIME_S = 120  # so long must the intervals with bad requests be: two minutes

_RESTARTS_S = 900  # in which several restarts may follow each other
_BEFORE_ALPHA = 1e-3  # for a single interval


class ShareTotal(NamedTuple):
    """The requests of the last `span_s`, and the bad ones among them.

    bad_time_s  the length of the intervals that had bad requests
    """

    span_s: int
    total: int
    bad: int
    bad_time_s: int

    @property
    def share(self) -> float:
        """The share of bad requests; 0 without requests."""
        return self.bad / self.total if self.total else 0.0

    def is_above(self, limit: float) -> bool:
        """Whether the share is above a limit beyond doubt, and not by one burst."""
        return (
            self.bad >= BAD_MIN
            and self.bad_time_s >= BAD_TIME_S
            and is_share_above(self.bad, self.total, limit)
        )


def collect_tallies(
    window: Window, floor_s: int, count: Callable[[Interval], tuple[int, int]]
) -> list[Tally]:
    """The tallies of the last HISTORY_S from `floor_s` on, oldest first.

    count  returns the requests of an interval, and the bad ones among them
    """
    return [
        Tally(interval.start_s, interval.length_s, *count(interval))
        for interval in window.over(HISTORY_S)
        if interval.start_s >= floor_s
    ]


def find_excused(
    window: Window, count: Callable[[Interval], tuple[int, int]], limit: float
) -> Set[int]:
    """The begins of the intervals with bad requests that a restart explains.

    A restart does not explain a problem of the interval before it.

    count  returns the requests of an interval, and the bad ones among them
    limit  the share of bad requests that is usual at most
    """
    excused_s: Set[int] = window.excused_s
    if window.last.start_s not in excused_s:
        return excused_s
    run_s = set()
    for interval in reversed(window.over(_RESTARTS_S)):
        if interval.start_s in excused_s:
            run_s.add(interval.start_s)
            continue
        total, bad = count(interval)
        if bad >= BAD_MIN - 1 and is_share_above(bad, total, limit, _BEFORE_ALPHA):
            return excused_s - run_s
        break
    return excused_s


def sum_spans(
    window: Window, tallies: Sequence[Tally], excused_s: Set[int]
) -> Iterator[ShareTotal]:
    """The sums over each of SPANS_S, the shortest first, without intervals that are excused."""
    total = bad = bad_time_s = 0
    position = len(tallies)
    for span_s in SPANS_S:
        # A span holds at least one interval: those of the past may be longer than it.
        while position and (
            tallies[position - 1].start_s >= window.end_s - span_s or position == len(tallies)
        ):
            position -= 1
            tally = tallies[position]
            if tally.start_s not in excused_s:
                total += tally.total
                bad += tally.bad
                bad_time_s += tally.length_s if tally.bad else 0
        yield ShareTotal(span_s, total, bad, bad_time_s)
