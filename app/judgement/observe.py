"""Reads the facts of one interval from a rollup, as a judgement needs them.

Requests of WebSockets (101) and in maintenance (H80) are taken out, as are failures that only the
client caused (H26 and H32 have status 503, yet the app did nothing wrong). The status and the code
of a request are counted in two sections, so this is a matter of subtraction: of one source, as
many 503s as it has such codes. H18 needs none of it: if the client broke off, its status is 499.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.rollup.accelerated import FastRollup, to_python
from app.rollup.events import EventKey
from app.rollup.rollup import Rollup, rows_in_total
from app.rollup.schema import CORE_GAUGES, OTHER, SECTION, SERVICE_OK
from app.rollup.statuses import MAINTENANCE_STATUS, SWITCHING_PROTOCOLS, is_failed
from parsers.error_codes import MAINTENANCE_CODE
from parsers.samples import labels_of

ROWS_MAX = 1_024  # of an interval, by source and code, or by source and exit status
CLIENT_503_CODES = ("H26", "H32")  # bad requests that the router answers with 503 by itself

_MEMORY_RATIO = CORE_GAUGES["memory_quota_used_ratio"]
_LOAD = CORE_GAUGES["load_avg_1m"]
_MILLIONTHS, _HUNDREDTHS = 1_000_000, 100  # as app.rollup.schema says of both gauges
_RATIO_WITHOUT_METRICS = "memory_running_ratio"


def observe_interval(rollup: FastRollup | Rollup, start_s: int, length_s: int = 60) -> Interval:
    """Return the facts in the rollup of [start_s, start_s + length_s).

    The interval shares data with the rollup, which must not change afterwards.
    """
    counts = to_python(rollup)
    requests = _requests_by_source(counts)
    unparsed = sum(
        count
        for result, count in counts.ledger.items()
        # An app's own text says nothing about the stream.
        if result.startswith("unparsed:") and result != "unparsed:custom"
    )
    return Interval(
        start_s,
        length_s,
        messages=counts.messages,
        unparsed=unparsed,
        counted=counts.ledger.get("counted", 0),
        lost=counts.ledger.get("lost_upstream", 0),
        maintenance=sum(
            count for (_, code), count in counts.errors.items() if code == MAINTENANCE_CODE
        ),
        types=_observe_types(counts, requests),
        dynos=_observe_dynos(counts, requests),
        codes=_bound_rows("errors", counts.errors),
        exits=_bound_rows("exits", counts.exits),
        events=_events_within(counts, start_s, start_s + length_s),
        rollup=counts,
    )


_Second = TypeVar("_Second", str, int)


def _bound_rows(
    section: str, rows: dict[tuple[str, _Second], int]
) -> dict[tuple[str, _Second], int]:
    """The rows of a section; those of many dynos by process type, or for the app as a whole.

    A window keeps many intervals, and ROWS_MAX dynos with errors are a matter of all.
    """
    if len(rows) > ROWS_MAX:
        rows = rows_in_total(SECTION[section], rows)
    if len(rows) > ROWS_MAX:
        rows = SECTION[section].rename(rows, {"source": lambda _: ""})
    return rows


class _Counts(NamedTuple):
    """The requests of one source, as a TypeFacts counts them."""

    requests: int = 0
    failed: int = 0
    websockets: int = 0


_NO_REQUESTS = _Counts()


def _requests_by_source(rollup: Rollup) -> dict[str, _Counts]:
    counts: dict[str, _Counts] = {}
    for (source, status), count in rollup.requests.items():
        requests, failures, websockets = counts.get(source, _NO_REQUESTS)
        if status == SWITCHING_PROTOCOLS:
            websockets += count
        elif status == MAINTENANCE_STATUS:
            in_maintenance, unanswered = _divide_503(rollup, source, count)
            requests += count - in_maintenance
            failures += unanswered
        else:
            requests += count
            failures += count if is_failed(status) else 0
        counts[source] = _Counts(requests, failures, websockets)
    return counts


def _divide_503(rollup: Rollup, source: str, count: int) -> tuple[int, int]:
    """Of the requests of a source with status 503: those in maintenance, and those that failed."""
    # Without these statuses there is nothing to take off, so neither goes below 0.
    in_maintenance = min(rollup.errors.get((source, MAINTENANCE_CODE), 0), count)
    by_clients = sum(rollup.errors.get((source, code), 0) for code in CLIENT_503_CODES)
    return in_maintenance, max(count - in_maintenance - by_clients, 0)


def _observe_types(rollup: Rollup, requests: dict[str, _Counts]) -> dict[str, TypeFacts]:
    sums: dict[str, _Counts] = {}
    for source, counts in requests.items():
        process_type = labels_of(source)[0]
        before = sums.get(process_type, _NO_REQUESTS)
        sums[process_type] = _Counts(
            before.requests + counts.requests,
            before.failed + counts.failed,
            before.websockets + counts.websockets,
        )
    statuses = _failed_statuses(rollup, requests)
    no_counts: dict[int, int] = {}
    return {
        process_type: TypeFacts(
            *counts[:2],
            rollup.sketches.get((process_type, SERVICE_OK), no_counts),
            counts.websockets,
            statuses.get(process_type, no_counts),
        )
        for process_type, counts in sums.items()
    }


def _failed_statuses(rollup: Rollup, requests: dict[str, _Counts]) -> dict[str, dict[int, int]]:
    """Failed requests by process type and status."""
    statuses: dict[str, dict[int, int]] = {}
    if not any(counts.failed for counts in requests.values()):
        return statuses
    for (source, status), count in rollup.requests.items():
        if not is_failed(status):
            continue
        failures = _divide_503(rollup, source, count)[1] if status == MAINTENANCE_STATUS else count
        counts = statuses.setdefault(labels_of(source)[0], {})
        counts[status] = counts.get(status, 0) + failures
    return statuses


def _observe_dynos(rollup: Rollup, requests: dict[str, _Counts]) -> dict[str, DynoFacts]:
    memory, load = _gauges_by_dyno(rollup)
    dynos = {}
    for source in {*requests, *memory, *load}:
        dyno = labels_of(source)[1]
        if not dyno or dyno.endswith(f".{OTHER}"):  # names over the limit are no dyno
            continue
        count, failures, _ = requests.get(source, _NO_REQUESTS)
        times = rollup.tallies.get((source, SERVICE_OK))
        dynos[dyno] = DynoFacts(
            count,
            failures,
            times.total / times.count if times else None,
            times.largest if times else None,
            memory.get(source),
            load.get(source),
        )
    return dynos


def _gauges_by_dyno(rollup: Rollup) -> tuple[dict[str, float], dict[str, float]]:
    """The highest share of the memory quota, and the highest load, by source."""
    memory: dict[str, float] = {}
    load: dict[str, float] = {}
    for (source, metric), summary in rollup.named_gauges.items():
        if metric == _RATIO_WITHOUT_METRICS:
            memory[source] = summary.largest / _MILLIONTHS
    for (source, gauge), summary in rollup.gauges.items():
        if gauge == _MEMORY_RATIO:
            memory[source] = summary.largest / _MILLIONTHS
        elif gauge == _LOAD:
            load[source] = summary.largest / _HUNDREDTHS
    return memory, load


def _events_within(rollup: Rollup, start_s: int, end_s: int) -> tuple[EventKey, ...]:
    """The events in order of time; not MORE_EVENTS, at time 0."""
    if not rollup.events and not rollup.lifecycle:
        return ()
    return tuple(
        sorted(event for event in rollup.all_events if start_s * 1000 <= event.at_ms < end_s * 1000)
    )
