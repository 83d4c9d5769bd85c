"""Reads the usual values of an app around this hour, from the past without its incidents."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from app.judgement.facts import AppProfile, Interval, PastP95, Usual
from app.judgement.verdict import Finding
from app.query.engine import list_packed, read_in_parts
from app.query.table import QueryRange
from app.rollup.codec import merge_packed
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, Resolution, align
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.sketch import quantile_ms
from app.rollup.time_range import TimeRange
from app.storage.interface.rollups import RollupReader
from app.verdicts.interval_reader import IntervalReader
from app.verdicts.past_hours import HEARD_DAYS, SLOW_KINDS, HeardHour, PastHours, overlaps
from parsers.samples import labels_of

AROUND_S = HOUR_S  # before and after the hour of the day that is looked up
REQUESTS_MIN = 60  # fewer say little about a p95
POOLED_REQUESTS = 500  # their p95 is within a tenth of the true one
_P95 = 0.95
_QUOTA_CODE = "R14"
_SLOT_MINUTES = 10


class HourUsual(NamedTuple):
    """The usual values in one hour of the day; `at_s` is its start in Unix seconds."""

    at_s: int
    p95: Mapping[str, PastP95]
    quota_minutes: Mapping[str, int]


class UsualReader:
    """Reads the past of apps from slots of 10 minutes and hours."""

    def __init__(
        self,
        store: RollupReader,
        tiers: Sequence[Resolution],
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """As IntervalReader."""
        self._store = store
        self._tiers = tiers
        self._intervals = IntervalReader(store, tiers, limits)

    async def read_hour(
        self, profile: AppProfile, hour_s: int, incidents: Iterable[Finding]
    ) -> HourUsual:
        """The values a day and a week before the hour that begins at `hour_s`.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        findings = list(incidents)
        yesterday = await self._read_around(profile, hour_s - DAY_S)
        last_week = await self._read_around(profile, hour_s - 7 * DAY_S)
        p95_by_day = [highest_p95(day, findings) for day in (yesterday, last_week)]
        return HourUsual(
            hour_s,
            {
                process_type: PastP95(*(day.get(process_type) for day in p95_by_day))
                for process_type in {*p95_by_day[0], *p95_by_day[1]}
            },
            quota_minutes(yesterday),
        )

    async def _read_around(self, profile: AppProfile, hour_s: int) -> list[Interval]:
        end_s = hour_s + HOUR_S + AROUND_S
        if end_s <= profile.first_seen_s:
            return []
        intervals = self._intervals.read_coarse(profile.app, hour_s - AROUND_S, end_s)
        return [interval async for interval in intervals]

    async def read_heard(self, profile: AppProfile, until_s: int) -> dict[int, HeardHour]:
        """The hours of the last days before `until_s`, by the minutes in which dynos logged.

        An hour with lines of which none tells its dyno is unknown, and left out.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        hours = self._tiers[-1]
        end_s = align(until_s, HOUR_S)
        first_s = max(end_s - HEARD_DAYS * DAY_S, align(profile.first_seen_s, HOUR_S) + HOUR_S)
        if first_s >= end_s:
            return {}
        time_range = QueryRange(first_s, end_s, HOUR_S, hours)
        minutes = dict.fromkeys(range(first_s, end_s, HOUR_S), 0)  # bits of the minutes with lines
        messages = dict.fromkeys(minutes, 0)
        async for part, contents in read_in_parts(self._store, profile.app, time_range):
            for hour_s, data in list_packed(contents, part):
                rollup = Rollup()
                merge_packed(rollup, data, frozenset({"active_minutes"}))
                messages[hour_s] += rollup.messages
                for mask in rollup.active_minutes.values():
                    minutes[hour_s] |= mask
            await asyncio.sleep(0)
        return {
            hour_s: HeardHour(HOUR_S // MINUTE_S, mask.bit_count())
            for hour_s, mask in minutes.items()
            if mask or not messages[hour_s]
        }


def highest_p95(intervals: Iterable[Interval], incidents: Sequence[Finding]) -> dict[str, float]:
    """The highest p95 by process type, in ms, of the intervals outside incidents.

    The p95 of few requests is a matter of chance, and so would be the highest of many such values.
    So intervals in a row are taken together until they hold POOLED_REQUESTS.
    """
    slots: dict[str, list[Mapping[int, int]]] = {}
    for interval in intervals:
        if not overlaps(incidents, SLOW_KINDS, TimeRange(interval.start_s, interval.end_s)):
            for process_type, facts in interval.types.items():
                slots.setdefault(process_type, []).append(facts.times)
    return {
        process_type: max(quantile_ms(times, _P95) or 0.0 for times in pooled)
        for process_type, pools in slots.items()
        if (pooled := pool_times(pools))
    }


def pool_times(slots: Iterable[Mapping[int, int]]) -> list[Counter[int]]:
    """Response times of slots in a row, taken together until each pool holds POOLED_REQUESTS.

    What is left over belongs to the last pool. None if all together are under REQUESTS_MIN.
    """
    pools: list[Counter[int]] = []
    pool: Counter[int] = Counter()
    for times in slots:
        pool.update(times)
        if pool.total() >= POOLED_REQUESTS:
            pools.append(pool)
            pool = Counter()
    if pools:
        pools[-1].update(pool)
    elif pool.total() >= REQUESTS_MIN:
        pools.append(pool)
    return pools


def quota_minutes(intervals: Iterable[Interval]) -> dict[str, int]:
    """How many minutes had R14 at most, by process type. A dyno logs it about every 20 seconds."""
    minutes: dict[str, int] = {}
    for interval in intervals:
        lines: Counter[str] = Counter()
        for (source, code), count in interval.codes.items():
            if code == _QUOTA_CODE:
                lines[labels_of(source)[0]] += count
        for process_type, count in lines.items():
            minutes[process_type] = minutes.get(process_type, 0) + min(count, _SLOT_MINUTES)
    return minutes


def usual_at(profile: AppProfile, at_s: int, hour: HourUsual, past: PastHours) -> Usual:
    """The usual values of an app at a time."""
    means, highest = past.failed_shares(at_s)
    return Usual(
        history_s=max(at_s - profile.first_seen_s, 0),
        p95=hour.p95,
        failed_share=means,
        failed_share_max=highest,
        heard_share=past.heard_share(at_s),
        quota_minutes=hour.quota_minutes,
    )
