"""Reads the intervals of an app that a judgement needs, each as fine as it is still stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from app.judgement.facts import Interval
from app.judgement.observe import observe_interval
from app.query.engine import list_packed, read_in_parts
from app.query.table import QueryRange
from app.rollup.bounded_merge import merge_in_steps
from app.rollup.resolutions import MINUTE_S, Resolution, align, align_up
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.rollups import RollupReader
from app.support.aio import run_in_steps


async def observe(
    packed_rollups: Iterable[bytes],
    start_s: int,
    length_s: int = MINUTE_S,
    *,
    limits: CardinalityLimits,
) -> Interval:
    """The interval that these packed rollups describe together; an empty one if there are none.

    Lets other tasks run meanwhile.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    rollups = list(packed_rollups)
    if not rollups:
        return Interval(start_s, length_s)
    rollup = await run_in_steps(merge_in_steps(rollups, limits))
    if rollup.entry_count > min(limits):
        rollup.apply_limits(limits)
    return observe_interval(rollup, start_s, length_s)


class IntervalReader:
    """Reads intervals from slots and inbox."""

    def __init__(
        self,
        store: RollupReader,
        tiers: Sequence[Resolution],
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            store: holds the rollups.
            tiers: the stored resolutions, finest first.
            limits: the limits on names in an interval.
        """
        self._store = store
        self._tiers = tiers
        self._limits = limits

    async def read(
        self, app: str, start_s: int, end_s: int, now_s: float
    ) -> AsyncIterator[Interval]:
        """Yield the intervals of [start_s, end_s) in order of time, also those without a line.

        Minutes where they are kept, then 10 minutes, then hours. The range is aligned outwards to
        the intervals that are stored.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        for time_range in stored_ranges(self._tiers, start_s, end_s, now_s):
            async for interval in self._read_range(app, time_range):
                yield interval

    async def read_coarse(self, app: str, start_s: int, end_s: int) -> AsyncIterator[Interval]:
        """Yield the intervals of 10 minutes of [start_s, end_s) that had a line.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        tier = self._tiers[1]
        seconds = tier.seconds
        time_range = QueryRange(align(start_s, seconds), align_up(end_s, seconds), seconds, tier)
        async for interval in self._read_range(app, time_range):
            if interval.is_heard:
                yield interval

    async def _read_range(self, app: str, time_range: QueryRange) -> AsyncIterator[Interval]:
        seconds = time_range.step_s
        async for part, contents in read_in_parts(self._store, app, time_range):
            packed_by_start: dict[int, list[bytes]] = {}
            for start_s, data in list_packed(contents, part):
                packed_by_start.setdefault(start_s, []).append(data)
            for start_s in range(part.start, part.end, seconds):
                rollups = packed_by_start.pop(start_s, ())
                yield await observe(rollups, start_s, seconds, limits=self._limits)


def stored_ranges(
    tiers: Sequence[Resolution], start_s: int, end_s: int, now_s: float
) -> list[QueryRange]:
    """The finest stored resolution for each part of [start_s, end_s), oldest part first.

    A part begins where the next coarser resolution has a boundary, so none is read twice.
    """
    ranges: list[QueryRange] = []
    coarser_seconds = [*(tier.seconds for tier in tiers[1:]), tiers[-1].seconds]
    until_s = end_s
    for tier, boundary_s in zip(tiers, coarser_seconds, strict=True):
        kept_s = align_up(int(now_s) - tier.retention_s, boundary_s)
        first_s = max(start_s, kept_s)
        if first_s < until_s:
            bounds = align(first_s, tier.seconds), align_up(until_s, tier.seconds)
            ranges.insert(0, QueryRange(*bounds, tier.seconds, tier))
            until_s = first_s
    return ranges
