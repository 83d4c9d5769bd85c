"""Rates: the one definition of "requests a minute", and of every other count per time.

A rate is the count in slots that are observed and complete, divided by the length of these slots.

    observed   the app logged at least one line in the slot. In any other slot, counts are unknown
               rather than 0: the app, its drain or Dynometer may have been down
    complete   the whole slot lies between the app's first and latest line, and it ended at least
               SETTLED_AFTER_S ago. So neither the slot in which the app appeared nor the one that
               has just begun makes a rate too low

Slots are minutes; for older times, the finest interval that is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.query.stats import Stat, Value
from app.query.table import Query, QueryCells, QueryRange, SeriesKey
from app.rollup.resolutions import MINUTE_S, align, align_up
from app.rollup.time_range import TimeRange

SETTLED_AFTER_S = 60  # Logplex delivers within seconds; later lines are rare
_SUM = Stat("sum", "sum", 0)


def per_minute(count: float, observed_slots: int, slot_s: int = MINUTE_S) -> float | None:
    """A count in complete slots of `slot_s` seconds as a rate; None if none was observed."""
    return count * MINUTE_S / (observed_slots * slot_s) if observed_slots else None


def complete_time(first_s: int, last_s: int, now_s: float | None = None) -> TimeRange:
    """The time whose slots are complete, from the times of an app's first and latest line.

    Times are in Unix seconds. Without `now_s` all lines have arrived, as those of a file.
    """
    end_s = last_s + 1  # the latest line may come at the very end of its second
    return TimeRange(first_s, end_s if now_s is None else min(end_s, int(now_s - SETTLED_AFTER_S)))


def mean_per_minute(
    counts: Sequence[Value], start_s: int, slot_s: int, complete: TimeRange
) -> float | None:
    """The rate over slots from `start_s` on. None stands for a slot that was not observed."""
    first, last = _complete_slots(start_s, slot_s, complete)
    observed_counts = [count for count in counts[first:last] if count is not None]
    return per_minute(sum(observed_counts), len(observed_counts), slot_s)


def rates_per_minute(
    counts: Sequence[Value], start_s: int, slot_s: int, complete: TimeRange
) -> list[Value]:
    """The rate in each of these slots; None where it is unknown."""
    first, last = _complete_slots(start_s, slot_s, complete)
    return [
        per_minute(count, 1, slot_s) if count is not None and first <= index < last else None
        for index, count in enumerate(counts)
    ]


def _complete_slots(start_s: int, slot_s: int, complete: TimeRange) -> tuple[int, int]:
    """The first complete slot from `start_s` on, and the one behind the last."""
    first = -(-(complete.start_s - start_s) // slot_s)  # rounded up
    return max(first, 0), max((complete.end_s - start_s) // slot_s, 0)


class RatePlan:
    """Plans the rate of a counter in each interval of a query.

    An interval that is only partly complete has the rate of its complete slots.
    """

    def __init__(self, query: Query, complete: TimeRange) -> None:
        self._range = query.range
        self._parts = list(_complete_parts(query.range, complete))
        slot_s = query.range.resolution.seconds
        self.queries = [query.over(part) for part in self._parts] + [
            Query(query.metric, (_SUM,), part._replace(step_s=slot_s)) for part in self._parts
        ]

    def rates(self, all_cells: Sequence[QueryCells]) -> Rates:
        """The rates, from the cells of `queries`."""
        size = len(self._parts)
        observed_slots = []
        for part, slots in zip(self._parts, all_cells[size:], strict=True):
            activity = slots.activity()
            slots_per_step = part.step_s // part.resolution.seconds
            observed_slots.append(
                [
                    sum(activity[first : first + slots_per_step])
                    for first in range(0, len(activity), slots_per_step)
                ]
            )
        return Rates(self._range, self._parts, all_cells[:size], observed_slots)


class Rates(NamedTuple):
    """The counts of a counter in the complete parts of a range.

    observed_slots  for each part, the number of observed slots in each of its intervals
    """

    range: QueryRange
    parts: Sequence[QueryRange]
    cells: Sequence[QueryCells]
    observed_slots: Sequence[Sequence[int]]

    def values(self, key: SeriesKey) -> list[Value]:
        """The rate of a series per second, for each interval of the range; None if unknown."""
        values: list[Value] = [None] * self.range.size
        for part, cells, observed in zip(self.parts, self.cells, self.observed_slots, strict=True):
            first = (part.start - self.range.start) // self.range.step_s
            counts = cells.values(key, None, _SUM, range(part.size))
            for index, (count, slots) in enumerate(zip(counts, observed, strict=True), first):
                if isinstance(count, int | float):
                    rate = per_minute(count, slots, part.resolution.seconds)
                    values[index] = None if rate is None else rate / MINUTE_S
        return values


def _complete_parts(time_range: QueryRange, complete: TimeRange) -> Iterator[QueryRange]:
    """The complete slots of a range: all whole intervals, and the rest at either end."""
    slot_s, step_s = time_range.resolution.seconds, time_range.step_s
    start = max(time_range.start, align_up(complete.start_s, slot_s))
    end = min(time_range.end, align(complete.end_s, slot_s))
    if start >= end:
        return
    first = time_range.start + align_up(start - time_range.start, step_s)
    last = time_range.start + align(end - time_range.start, step_s)
    if first > last:  # all within one interval
        first = last = end
    for part_start, part_end in ((start, first), (first, last), (last, end)):
        if part_start < part_end:
            is_whole = part_start == first and part_end == last
            part_step_s = step_s if is_whole else part_end - part_start
            yield QueryRange(part_start, part_end, part_step_s, time_range.resolution)
