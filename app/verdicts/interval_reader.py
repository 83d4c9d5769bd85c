"""Reads the intervals of an app that a judgement needs, each as fine as it is still stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from app.judgement.facts import Interval
from app.judgement.observe import observe_interval
from app.query.engine import list_packed, slots_of
from app.query.table import QueryRange
from app.rollup.accelerated import merge_rollups, pack
from app.rollup.resolutions import MINUTE_S, Resolution, align, align_up
from app.storage.interface.rollups import RollupReader

_SLOTS_PER_READ = 240  # so that memory never holds the rollups of a whole range
_MERGED_MAX = 32  # rollups; beyond, limits apply before more names are added
_INTERVALS_PER_TURN = 20  # a few ms, then other requests have their turn


def _groups(rollups: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for index in range(0, len(rollups), _MERGED_MAX):
        yield rollups[index : index + _MERGED_MAX]


def interval_of(
    packed_rollups: Iterable[bytes], start_s: int, length_s: int = MINUTE_S
) -> Interval:
    """The interval that these packed rollups describe together; an empty one if there are none.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    rollups = list(packed_rollups)
    if not rollups:
        return Interval(start_s, length_s)
    while len(rollups) > _MERGED_MAX:  # of a hostile app, each may name others than the one before
        rollups = [pack(merge_rollups(group)) for group in _groups(rollups)]
    return observe_interval(merge_rollups(rollups), start_s, length_s)


class IntervalReader:
    """Reads intervals from slots and inbox."""

    def __init__(self, store: RollupReader, tiers: Sequence[Resolution]) -> None:
        """`tiers`: the stored resolutions, finest first."""
        self._store = store
        self._tiers = tiers

    async def read(self, app: str, start_s: int, end_s: int, now_s: float) -> list[Interval]:
        """The intervals of [start_s, end_s) in order of time, also those without a line.

        Minutes where they are kept, then 10 minutes, then hours. The range is aligned outwards to
        the intervals that are stored.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        intervals: list[Interval] = []
        for time_range in stored_ranges(self._tiers, start_s, end_s, now_s):
            intervals += await self._read_range(app, time_range)
        return intervals

    async def read_coarse(self, app: str, start_s: int, end_s: int) -> list[Interval]:
        """The intervals of 10 minutes of [start_s, end_s) that had a line.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        tier = self._tiers[1]
        seconds = tier.seconds
        time_range = QueryRange(align(start_s, seconds), align_up(end_s, seconds), seconds, tier)
        return [
            interval for interval in await self._read_range(app, time_range) if interval.is_heard
        ]

    async def _read_range(self, app: str, time_range: QueryRange) -> list[Interval]:
        seconds = time_range.step_s
        intervals: list[Interval] = []
        for start_s in range(time_range.start, time_range.end, _SLOTS_PER_READ * seconds):
            end_s = min(start_s + _SLOTS_PER_READ * seconds, time_range.end)
            part = time_range._replace(start=start_s, end=end_s)
            contents = await self._store.read(app, slots_of(part))
            packed_by_start: dict[int, list[bytes]] = {}
            for slot_start_s, data in list_packed(contents, part):
                packed_by_start.setdefault(slot_start_s, []).append(data)
            for index, slot_start_s in enumerate(range(start_s, end_s, seconds)):
                packed_rollups = packed_by_start.pop(slot_start_s, ())
                intervals.append(interval_of(packed_rollups, slot_start_s, seconds))
                if packed_rollups and index % _INTERVALS_PER_TURN == 0:
                    await asyncio.sleep(0)
        return intervals


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
