"""The columns in the clear of one app and interval: rows for the tables of details.

The sections and metrics of app.rollup.schema say which table a row of a rollup belongs to, so a
new section or metric needs no code here:

    a count      count_*, by metric, process type and the other labels
    a summary    measurement_*, by metric, process type, dyno and the other labels
    a mask       dyno_*, by process type
    times        request_*, by process type and outcome
    an event     events, written by app.archive.interval_writer

The packed rollup holds everything. Left out here are dynos of counts and times, and gauges that
are not in /metrics either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any

from psycopg.types.json import Jsonb

from app.archive.row_names import SKETCHES, label_texts, metric_name
from app.rollup.rollup import Rollup
from app.rollup.schema import (
    CONNECT_FAILED,
    CONNECT_OK,
    METRICS,
    NUMBER_MAX,
    SECTIONS,
    SERVICE_FAILED,
    SERVICE_OK,
    Section,
)
from app.rollup.sketch import Bins, counts_within_bounds
from app.rollup.statuses import FAILED, MAINTENANCE, OK, outcome_of
from app.rollup.summaries import COUNT, NUMBER_BINS, GaugeSummary, NumberSum, TimingTotals
from parsers.error_codes import MAINTENANCE_CODE
from parsers.numbers import MILLION
from parsers.samples import labels_of

BIN_COUNT_MAX = 2**31 - 1  # of a column of type integer
Row = tuple[Any, ...]
Minutes = Mapping[str, int]  # source -> mask of the minutes of one hour

_SERVICE = {OK: SERVICE_OK, FAILED: SERVICE_FAILED}
_CONNECT = {OK: CONNECT_OK, FAILED: CONNECT_FAILED}


def detail_rows(rollup: Rollup, minutes_by_hour: Iterable[Minutes]) -> tuple[list[Row], ...]:
    """The rows of the tables of details, in their order, without the columns app and t.

    `minutes_by_hour`: the active minutes of each hour of the interval.
    """
    return (
        list(_request_rows(rollup)),
        list(_measurement_rows(rollup)),
        list(_count_rows(rollup)),
        list(_dyno_rows(minutes_by_hour)),
    )


# --- requests -----------------------------------------------------------------------------------


def _request_rows(rollup: Rollup) -> Iterator[Row]:
    requests = _requests_by_outcome(rollup)
    totals = _timing_totals(rollup)
    keys = {*requests}
    for process_type, kind in totals:
        outcome = OK if kind in (SERVICE_OK, CONNECT_OK) else FAILED
        keys.add((process_type, outcome))
    for process_type, outcome in sorted(keys):
        yield (
            process_type,
            outcome,
            _clamp(requests.get((process_type, outcome), 0)),
            *_times(rollup, totals, process_type, _SERVICE.get(outcome), with_bounds=True),
            *_times(rollup, totals, process_type, _CONNECT.get(outcome), with_bounds=False),
        )


def _requests_by_outcome(rollup: Rollup) -> dict[tuple[str, str], int]:
    """Requests by process type and outcome. Those in maintenance are taken from the failed ones,
    as app.query.maintenance does.
    """
    requests: dict[tuple[str, str], int] = {}
    for (source, status), count in rollup.requests.items():
        key = (labels_of(source)[0], outcome_of(status))
        requests[key] = requests.get(key, 0) + count
    for (source, code), count in rollup.errors.items():
        if code == MAINTENANCE_CODE:
            process_type = labels_of(source)[0]
            failures = requests.get((process_type, FAILED), 0)
            requests[process_type, FAILED] = max(failures - count, 0)
            in_maintenance = requests.get((process_type, MAINTENANCE), 0)
            requests[process_type, MAINTENANCE] = in_maintenance + count
    return requests


def _timing_totals(rollup: Rollup) -> dict[tuple[str, int], TimingTotals]:
    totals: dict[tuple[str, int], TimingTotals] = {}
    for (source, kind), timing in rollup.tallies.items():
        key = (labels_of(source)[0], kind)
        if key not in totals:
            totals[key] = TimingTotals()
        totals[key].merge(timing)
    return totals


def _times(
    rollup: Rollup,
    totals: Mapping[tuple[str, int], TimingTotals],
    process_type: str,
    kind: int | None,
    *,
    with_bounds: bool,
) -> Iterator[Any]:
    """Count, sum, maximum, cumulative counts and sketch of one kind of time; None has no times."""
    key = (process_type, -1 if kind is None else kind)
    timing = totals.get(key, TimingTotals())
    bins: Bins = rollup.sketches.get(key, {})
    yield from map(_clamp, (timing.count, timing.total, timing.largest))
    if with_bounds:
        yield from map(_clamp, counts_within_bounds(bins)[:-1])
    indices = sorted(bins)
    yield indices
    yield [min(bins[index], BIN_COUNT_MAX) for index in indices]


# --- measurements, counts, dynos ----------------------------------------------------------------


def _measurement_rows(rollup: Rollup) -> Iterator[Row]:
    for section in SECTIONS:
        if not _is_measured(section):
            continue
        sketches: Mapping[Any, Bins] = getattr(rollup, SKETCHES.get(section.name, ""), {})
        measurements: dict[tuple[str, str, str, str], tuple[Any, Bins]] = {}
        for row, summary in rollup.rows(section).items():
            name = metric_name(section, row)
            if name in METRICS and not METRICS[name].series:
                continue
            key = (name, *label_texts(section, row))
            bins = sketches.get(row, {})
            if key in measurements:  # names that stand for one metric, such as queue_time_ms
                total, total_bins = measurements[key]
                measurements[key] = (
                    section.values.combine(total.copy(), summary),
                    NUMBER_BINS.combine({**total_bins}, bins),
                )
            else:
                measurements[key] = (summary, bins)
        for (name, process_type, dyno, labels), (summary, bins) in sorted(
            measurements.items(), key=itemgetter(0)
        ):
            scale = METRICS[name].scale if name in METRICS else (1, MILLION)
            yield (
                *(name, process_type, dyno, _jsonb(labels)),
                *_measured_columns(summary, scale),
                *((sorted(bins), [min(bins[i], BIN_COUNT_MAX) for i in sorted(bins)])
                  if bins else (None, None)),
            )  # fmt: skip


def _is_measured(section: Section) -> bool:
    summary = section.values.summary
    return summary is not None and issubclass(summary, GaugeSummary | NumberSum)


def _measured_columns(summary: Any, scale: tuple[int, int]) -> Iterator[Any]:
    """Samples, sum, minimum, maximum and last value, exactly and in the unit of the metric."""
    yield _clamp(summary.count)
    yield _decimal(summary.total, scale)
    for name in ("smallest", "largest", "last"):
        number = getattr(summary, name, None)
        yield None if number is None else _decimal(number, scale)


def _decimal(number: int, scale: tuple[int, int]) -> Decimal:
    """number × scale. The divisors of all scales are powers of ten, so it is exact."""
    numerator, denominator = scale
    return Decimal(f"{number * numerator}E-{len(str(denominator)) - 1}")


def _count_rows(rollup: Rollup) -> Iterator[Row]:
    for section in SECTIONS:
        if section.values != COUNT or section.limit_rows is not None:  # events are no counts
            continue
        counts: dict[tuple[str, str, str], int] = {}
        for row, count in rollup.rows(section).items():
            process_type, _, labels = label_texts(section, row)
            key = (metric_name(section, row), process_type, labels)
            counts[key] = counts.get(key, 0) + count
        for (metric, process_type, labels), count in sorted(counts.items()):
            yield (metric, process_type, _jsonb(labels), _clamp(count))


def _dyno_rows(minutes_by_hour: Iterable[Minutes]) -> Iterator[Row]:
    sums: dict[str, list[int]] = {}
    for minutes in minutes_by_hour:
        masks: dict[str, list[int]] = {}
        for source, mask in minutes.items():
            masks.setdefault(labels_of(source)[0], []).append(mask)
        for process_type, type_masks in masks.items():
            by_minute = [
                count
                for minute in range(60)
                if (count := sum(mask >> minute & 1 for mask in type_masks))
            ]
            row = sums.setdefault(process_type, [0, 0, 0])
            row[0] += sum(by_minute)
            row[1] += len(by_minute)
            row[2] = max([row[2], *by_minute])
    for process_type, row in sorted(sums.items()):
        yield (process_type, *row)


@lru_cache(maxsize=4_096)
def _jsonb(text: str) -> Jsonb:
    return Jsonb(json.loads(text))


def _clamp(number: int) -> int:
    return min(number, NUMBER_MAX)
