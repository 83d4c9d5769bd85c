"""Snapshots: an app's rollups over a time range, read once and then queried many times in memory.

The pages need dozens of series of the same range. A snapshot answers each as the API would,
without reading the store again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property

from app.query.engine import (
    BYTES_PER_TURN,
    PackedRollup,
    Series,
    evaluate_packed,
    read_packed_rollups,
)
from app.query.planner import build_query, plan_range
from app.query.selection import WHOLE_APP, Selection
from app.query.stats import SketchBin, Value
from app.query.table import QueryRange
from app.rollup.accelerated import merge_rollups, pack
from app.rollup.codec import merge_packed
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import CardinalityLimits, Rollup
from app.rollup.schema import METRICS
from app.storage.interface.rollups import RollupReader

_MS = 1000
_RATE_AGE_MIN_S = 10
_MINUTE_SECTIONS = frozenset({"active_minutes"})
_EVENT_SECTIONS = frozenset({"events", "ledger"})
# Merged rollups are shown and never stored, so the limits of stored rollups do not apply.
_NO_LIMITS = CardinalityLimits(*[10**9] * len(CardinalityLimits._fields))
_QueryKey = tuple[str, tuple[str, ...], str, bool, frozenset[tuple[str, tuple[str, ...]]]]


class SnapshotData:
    """Packed rollups of a snapshot: one for each step, and all of each slot.

    Active minutes of dynos come from the slots: minutes of different hours cannot be merged.
    """

    def __init__(self, steps: Sequence[PackedRollup], slots: Sequence[PackedRollup]) -> None:
        self.steps = steps
        self.slots = slots

    @cached_property
    def events_and_ledger(self) -> Rollup:
        """A rollup of the whole range that holds only events and the ledger."""
        rollup = Rollup()
        for _, data in self.steps:
            merge_packed(rollup, data, _EVENT_SECTIONS)
        return rollup

    @cached_property
    def last_active_s(self) -> dict[str, int]:
        """The start of the last slot in which each source was active, in Unix seconds."""
        last_active_s: dict[str, int] = {}
        for start, data in self.slots:
            rollup = Rollup()
            merge_packed(rollup, data, _MINUTE_SECTIONS)
            for source in rollup.active_minutes:
                last_active_s[source] = max(last_active_s.get(source, 0), start)
        return last_active_s


class AppSnapshot:
    """One app, or a selected part of it, over `time_range` in steps of `time_range.step_s`.

    Answers are cached, since charts, figures and insights ask for the same series.
    """

    def __init__(
        self,
        app: str,
        time_range: QueryRange,
        data: SnapshotData,
        selection: Selection = WHOLE_APP,
    ) -> None:
        self.app = app
        self.time_range = time_range
        self.selection = selection
        self._data = data
        self._answers: dict[_QueryKey, list[Series]] = {}

    def select(self, selection: Selection) -> AppSnapshot:
        """The same snapshot, restricted to a part of the app."""
        return AppSnapshot(self.app, self.time_range, self._data, selection)

    def tail(self, steps: int) -> AppSnapshot:
        """The same snapshot, restricted to its last steps."""
        steps_before = max(0, self.time_range.size - steps)
        start = self.time_range.start + steps_before * self.time_range.step_s
        data = SnapshotData(
            [rollup for rollup in self._data.steps if rollup[0] >= start],
            [rollup for rollup in self._data.slots if rollup[0] >= start],
        )
        return AppSnapshot(self.app, self.time_range._replace(start=start), data, self.selection)

    def series(
        self,
        metric: str,
        *stats: str,
        by: str = "",
        whole_range: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Series]:
        """Series of a metric: a value per step, or a single value if `whole_range`."""
        filters = {**self.selection.filters(METRICS[metric]), **(filters or {})}
        key = (
            *(metric, stats, by, whole_range),
            frozenset((label, tuple(values)) for label, values in filters.items()),
        )
        if key not in self._answers:
            self._answers[key] = self._evaluate(metric, stats, by, whole_range, filters)
        return self._answers[key]

    def _evaluate(
        self,
        metric: str,
        stats: Sequence[str],
        by: str,
        whole_range: bool,
        filters: Mapping[str, Sequence[str]],
    ) -> list[Series]:
        time_range = self.time_range
        if whole_range:
            time_range = time_range._replace(step_s=time_range.end - time_range.start)
        query = build_query(time_range, metric, stats, [by] if by else [], filters)
        rollups = self._data.slots if metric == "dynos" else self._data.steps
        return evaluate_packed(query, self.app, rollups)

    def value(self, metric: str, stat: str, **filters: Sequence[str]) -> Value:
        """One value for the whole range."""
        return self.series(metric, stat, whole_range=True, filters=filters)[0].numbers[-1]

    def values_by(self, metric: str, stat: str, label: str) -> dict[str, Value]:
        """One value for the whole range, by the values of a label."""
        all_series = self.series(metric, stat, by=label, whole_range=True)
        return {series.labels[label]: series.numbers[-1] for series in all_series}

    def points(self, metric: str, stat: str, **filters: Sequence[str]) -> list[Value]:
        """A value per step."""
        return self.series(metric, stat, filters=filters)[0].numbers

    def points_by(self, metric: str, stat: str, label: str) -> dict[str, list[Value]]:
        """A value per step, by the values of a label."""
        all_series = self.series(metric, stat, by=label)
        return {series.labels[label]: series.numbers for series in all_series}

    def sketch_bins(self, metric: str) -> list[list[SketchBin]]:
        """The sketch of a distribution, per step."""
        values = self.series(metric, "bins")[0].values
        return [value if isinstance(value, list) else [] for value in values]

    def per_minute(self, values: Sequence[Value], now_s: float) -> list[Value]:
        """Turn counts per step into rates per minute."""
        return per_minute(self.time_range, values, now_s)

    @property
    def last_active_s(self) -> dict[str, int]:
        """The start of the last slot in which each selected dyno was active, in Unix seconds."""
        last_active_s = self._data.last_active_s
        return {
            source: at_s
            for source, at_s in last_active_s.items()
            if self.selection.includes(source)
        }

    @property
    def events(self) -> list[tuple[EventKey, int]]:
        """(event, count) pairs, in order of time."""
        return sorted(
            (key, count)
            for key, count in self._data.events_and_ledger.events.items()
            if key != MORE_EVENTS
            and self.time_range.start <= key.at_ms // _MS < self.time_range.end
        )

    @property
    def ledger(self) -> dict[str, int]:
        """Messages by result."""
        return self._data.events_and_ledger.ledger


def per_minute(time_range: QueryRange, values: Sequence[Value], now_s: float) -> list[Value]:
    """Turn counts per step into rates per minute.

    The current step counts for its elapsed time, and has no rate for its first seconds.
    """
    rates: list[Value] = []
    for index, value in enumerate(values):
        age_s = min(now_s - time_range.start - index * time_range.step_s, time_range.step_s)
        has_rate = value is not None and age_s >= _RATE_AGE_MIN_S
        rates.append((value or 0) * MINUTE_S / age_s if has_rate else None)
    return rates


async def read_snapshot(
    store: RollupReader,
    app: str,
    start: str,
    end: str,
    resolutions: Sequence[Resolution],
    now_s: float,
    *,
    step: str | None = None,
) -> AppSnapshot:
    """Read a snapshot. Times are as users write them, such as now-1h.

    Raises:
        QueryError, StoreUnavailable, NewerVersion
    """
    time_range = plan_range(start, end, step, resolutions, now_s)[0]
    slots = [rollup async for rollup in read_packed_rollups(store, app, time_range)]
    return AppSnapshot(app, time_range, SnapshotData(await _merge_steps(slots, time_range), slots))


async def _merge_steps(slots: Sequence[PackedRollup], time_range: QueryRange) -> list[PackedRollup]:
    """Merge slots into one packed rollup per step with data, yielding to other requests."""
    packed_by_step: dict[int, list[bytes]] = {}
    for start, data in slots:
        step_start = start - (start - time_range.start) % time_range.step_s
        packed_by_step.setdefault(step_start, []).append(data)
    steps = []
    size = 0
    for start, packed_rollups in packed_by_step.items():
        if len(packed_rollups) > 1:
            size += sum(map(len, packed_rollups))
            if size >= BYTES_PER_TURN:
                size = 0
                await asyncio.sleep(0)
            merged_rollup = pack(merge_rollups(packed_rollups), _NO_LIMITS)
        else:
            merged_rollup = packed_rollups[0]
        steps.append((start, merged_rollup))
    return steps
