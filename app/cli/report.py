"""`dynometer report`: summarizes a log, as a table or as JSON. Needs no service and no store.

`build_report` makes the report; the table is one way to print it. Its figures come from the same
aggregation as the service's, so the API would give the same figures for the same lines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.cli.output import ProgressLine, with_progress, wrap
from app.config import Settings
from app.ingest.aggregator import AcceptanceWindow, ActivityTimes, Aggregator
from app.query.ledger import build_ledger
from app.query.maintenance_events import AnswerCounts, find_edges, maintenance_events
from app.query.rates import complete_time, per_minute
from app.query.stats import DistributionCell, GaugeCell, Stat, StatValue, parse_stat
from app.rollup.resolutions import MINUTE_S
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES, METRICS, SERVICE_FAILED, SERVICE_OK
from app.rollup.statuses import is_failed, status_label
from app.rollup.time_range import TimeRange
from app.traffic.log_files import LogFiles
from app.traffic.log_line import LogLine
from app.traffic.occurrences import Occurrences
from app.traffic.told_events import ToldEvents
from parsers.error_codes import MAINTENANCE_CODE, explain, no_runtime_metrics
from parsers.samples import APP_EVENTS, EVENTS, REASONS, labels_of

WIDTH = 100
NAME_WIDTH = 17  # of a dyno in its table
DETAILS_SHOWN = 5  # of the events of one kind
MINUTES_HELD = 1_000  # rollups of single minutes before they are merged; bounds memory
_UNLIMITED = AcceptanceWindow(past_s=10**12, future_s=10**12)  # the year 9999 is before 10^12 s
_SERVICE = (SERVICE_OK, SERVICE_FAILED)
_TIME_STATS = tuple(
    parse_stat(name, METRICS["service_time_ms"])
    for name in ("count", "p50", "p95", "p99", "max", "avg")
)
_AVG_AND_MAX = tuple(parse_stat(name, METRICS["memory_total_bytes"]) for name in ("avg", "max"))
_DYNO_GAUGES = ("memory_total_bytes", "memory_quota_used_ratio", "load_avg_1m")
_MEBIBYTE = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file and the options."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="output of `heroku logs`, drain bodies, or exports of a log service, also compressed; "
        "- for stdin",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON (docs/cli.md describes the keys)"
    )
    parser.add_argument("--app", metavar="NAME", help="the app's name, for suggested commands")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the report.

    Raises:
        LogInputError: a file cannot be read, or is not a log of Heroku's.
    """
    progress = ProgressLine()
    try:
        log = LogFiles(arguments.files)
        totals = aggregate(with_progress(log.groups(), log, progress))
    finally:
        progress.clear()
    report = build_report(totals, arguments.app, log.form_lines())
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(table(report)))
    return 0


class ReportTotals:
    """All lines merged into one rollup, and when they, errors and events occurred."""

    def __init__(self) -> None:
        self.rollup = Rollup()
        self.activity = ActivityTimes(0, 0, 0)
        self.last_minutes: dict[str, int] = {}  # by source
        self.requests_by_minute: dict[int, int] = {}  # of minutes with lines
        self.errors: dict[str, Occurrences] = {}  # by code; at the beginning of their minutes
        self.maintenance_by_minute: dict[int, int] = {}  # requests in maintenance
        self.events = ToldEvents()

    def merge(self, aggregator: Aggregator) -> None:
        """Add the lines of an aggregator, which must not be used afterwards."""
        for minute, rollup in aggregator.rollups.items():
            # With each its time, events would fill the memory of the merged rollup.
            self.events.add(rollup.all_events)
            rollup.events.clear()
            rollup.lifecycle.clear()
            in_maintenance = 0
            for (_, code), count in rollup.errors.items():
                self.errors.setdefault(code, Occurrences()).add(minute, count)
                in_maintenance += count if code == MAINTENANCE_CODE else 0
            self.maintenance_by_minute[minute] = (
                self.maintenance_by_minute.get(minute, 0) + in_maintenance
            )
            self.rollup.merge(rollup)
            requests = self.requests_by_minute.get(minute, 0)
            self.requests_by_minute[minute] = requests + sum(rollup.requests.values())
            for source in rollup.active_minutes:
                self.last_minutes[source] = max(minute, self.last_minutes.get(source, 0))
        ledger = self.rollup.ledger
        for name, messages in aggregator.ledger.items():
            ledger[name] = ledger.get(name, 0) + messages
        total, part = self.activity, aggregator.activity
        self.activity = ActivityTimes(
            min(total.first_s or part.first_s, part.first_s or total.first_s),  # 0: no line
            max(total.last_s, part.last_s),
            max(total.runtime_metrics_s, part.runtime_metrics_s),
        )

    def finish(self) -> None:
        """Complete the events, after the last line."""
        intervals = [
            AnswerCounts(
                minute, MINUTE_S, in_maintenance, self.requests_by_minute[minute] - in_maintenance
            )
            for minute, in_maintenance in sorted(self.maintenance_by_minute.items())
        ]
        if any(interval.in_maintenance for interval in intervals):
            self.events.add(maintenance_events(find_edges(intervals)))
        self.events.finish()


def aggregate(groups: Iterable[Sequence[LogLine]]) -> ReportTotals:
    """Aggregate all lines, whatever their age."""
    totals = ReportTotals()
    aggregator = Aggregator(0, _UNLIMITED)
    for group in groups:
        for line in group:
            if line.message is None:
                aggregator.add_unreadable(line.reason)
            else:
                aggregator.add_messages((line.message,))
        if len(aggregator.rollups) > MINUTES_HELD:
            totals.merge(aggregator)
            aggregator = Aggregator(0, _UNLIMITED)
    totals.merge(aggregator)
    totals.finish()
    return totals


def build_report(
    totals: ReportTotals, app: str | None = None, forms: Sequence[str] = ()
) -> dict[str, Any]:
    """The report as JSON values; docs/cli.md describes the keys."""
    rollup, activity = totals.rollup, totals.activity
    requests = sum(rollup.requests.values())
    errors = _errors(totals)
    in_maintenance = sum(row["count"] for row in errors if row["code"] == MAINTENANCE_CODE)
    failures = max(_failed_statuses(rollup) - in_maintenance, 0)
    rate, minutes = _requests_per_minute(totals)
    ledger = build_ledger(rollup.ledger, app="", start=0, end=0).model_dump()
    return {
        "app": app,
        "forms": list(forms),
        "start": _iso(activity.first_s),
        "end": _iso(activity.last_s),
        "requests": {
            "count": requests,
            "per_minute": None if rate is None else round(rate, 3),
            "complete_minutes": minutes,
            "failed": failures,
            "failed_ratio": round(failures / requests, 6) if requests else None,
            "maintenance": in_maintenance,
            "by_status": _by_status(rollup),
        },
        "service_time_ms": _service_times(rollup),
        "heroku_errors": errors,
        "events": _events(totals),
        "dynos": [_dyno(totals, source) for source in _sources(rollup)],
        "runtime_metrics": bool(rollup.gauges),
        "ledger": {
            name: ledger[name]
            for name in ("received", "counted", "ignored", "unparsed", "lost_upstream")
        },
    }


def _requests_per_minute(totals: ReportTotals) -> tuple[float | None, int]:
    """The rate, and the number of observed and complete minutes that it is about."""
    complete = complete_time(totals.activity.first_s, totals.activity.last_s)
    counts = [
        requests
        for minute, requests in totals.requests_by_minute.items()
        if complete.covers(TimeRange(minute, minute + MINUTE_S))
    ]
    return per_minute(sum(counts), len(counts)), len(counts)


def _iso(at_s: int) -> str | None:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}" if at_s else None


def _failed_statuses(rollup: Rollup) -> int:
    """Requests with a status that means failure, those in maintenance among them."""
    return sum(count for (_, status), count in rollup.requests.items() if is_failed(status))


def _by_status(rollup: Rollup) -> dict[str, int]:
    """Requests by status, with "" for none."""
    counts: dict[str, int] = {}
    for (_, status), requests in sorted(rollup.requests.items(), key=lambda item: item[0][1]):
        label = status_label(status)
        counts[label] = counts.get(label, 0) + requests
    return counts


def _service_times(rollup: Rollup) -> dict[str, Any]:
    cells = {"": DistributionCell()}
    for (process_type, timing), bins in sorted(rollup.sketches.items()):
        if timing in _SERVICE:
            cells.setdefault(process_type, DistributionCell()).add_bins(bins)
            cells[""].add_bins(bins)
    for (source, timing), tally in rollup.tallies.items():
        if timing in _SERVICE:
            cells[labels_of(source)[0]].totals.merge(tally)
            cells[""].totals.merge(tally)
    values = {name: _values(cell, _TIME_STATS) for name, cell in cells.items()}
    return {"all": values.pop(""), "by_process_type": values}


def _values(cell: DistributionCell | GaugeCell, stats: Iterable[Stat]) -> dict[str, Any]:
    return {stat.name: _rounded(cell.value(stat, 1)) for stat in stats}


def _rounded(value: StatValue) -> StatValue:
    return round(value, 4) if isinstance(value, float) else value


def _errors(totals: ReportTotals) -> list[dict[str, Any]]:
    return [
        {
            "code": code,
            "count": errors.count,
            **explain(code)._asdict(),
            "first": _iso(errors.first_s),
            "last": _iso(errors.last_s),
            "peak": {"minute": _iso(errors.peak.minute_s), "count": errors.peak.times},
        }
        for code, errors in sorted(
            totals.errors.items(), key=lambda item: (-item[1].count, item[0])
        )
    ]


def _events(totals: ReportTotals) -> list[dict[str, Any]]:
    """Events by kind; those of the app come first, as in EVENTS."""
    by_kind = totals.events.by_kind
    return [
        {
            "kind": kind,
            "count": events.count,
            "first": _iso(events.first_s),
            "last": _iso(events.last_s),
            "details": dict(events.details.most_common()),
        }
        for kind in (*EVENTS, *sorted(by_kind.keys() - EVENTS.keys()))
        if (events := by_kind.get(kind))
    ]


def _sources(rollup: Rollup) -> list[str]:
    """All dynos and process types with data, in natural order; "" is the log stream itself."""
    tables: Iterable[Iterable[tuple[str, object]]] = (
        rollup.requests,
        rollup.errors,
        rollup.gauges,
    )
    sources = {*rollup.active_minutes, *(source for table in tables for source, _ in table)} - {""}
    return sorted(sources, key=_natural)


def _natural(source: str) -> tuple[str, int, str]:
    process_type, _, number = source.rpartition(".")
    return (process_type or source, int(number) if number.isdecimal() else 0, number)


def _dyno(totals: ReportTotals, source: str) -> dict[str, Any]:
    rollup = totals.rollup
    process_type, dyno = labels_of(source)
    times = DistributionCell()
    for timing in _SERVICE:
        if (source, timing) in rollup.tallies:
            times.totals.merge(rollup.tallies[source, timing])
    row: dict[str, Any] = {
        "dyno": dyno,
        "process_type": process_type,
        "requests": _sum_of_source(rollup.requests, source),
        "errors": _sum_of_source(rollup.errors, source),
        "service_time_ms": _values(times, _AVG_AND_MAX),
    }
    for name in _DYNO_GAUGES:
        index = CORE_GAUGES[name]
        cell = GaugeCell(METRICS[name])
        if (source, index) in rollup.gauges:
            cell.add("", source, rollup.gauges[source, index])
        elif (source, METRICS[name].fallback) in rollup.named_gauges:
            cell.add("", source, rollup.named_gauges[source, METRICS[name].fallback])
        row[name] = _values(cell, _AVG_AND_MAX)
    return row | {"last_seen": _iso(totals.last_minutes.get(source, 0))}


def _sum_of_source(counts: Mapping[tuple[str, Any], int], source: str) -> int:
    return sum(count for (key_source, _), count in counts.items() if key_source == source)


def table(report: dict[str, Any]) -> Iterator[str]:
    """The report as lines of at most WIDTH columns."""
    ledger = report["ledger"]
    if not ledger["received"]:
        yield "The input is empty: there was no line to report on."
        return
    name = f"{report['app']}: " if report["app"] else ""
    yield f"{name}{_moment(report['start'])} to {_moment(report['end'])} UTC"
    for number, form in enumerate(report["forms"]):
        yield from _wrapped(form, " " * 10 if number else "Read as   ")
    yield ""
    yield from _request_lines(report)
    yield from _error_lines(report)
    yield from _event_lines(report)
    yield from _dyno_lines(report["dynos"], (report["end"] or "")[:10])
    if report["requests"]["count"] and not report["runtime_metrics"]:
        yield from no_runtime_metrics(report["app"] or "APP").splitlines()
        yield ""
    yield from _ledger_lines(ledger)


def _moment(iso: str | None) -> str:
    return iso[:-1].replace("T", " ") if iso else "?"


def _request_lines(report: dict[str, Any]) -> Iterator[str]:
    requests = report["requests"]
    if not requests["count"]:
        yield "No requests: the input has no router lines."
        yield ""
        return
    rate, minutes = requests["per_minute"], requests["complete_minutes"]
    yield (
        f"Requests  {requests['count']:,}, "
        + ("no complete minute" if rate is None else f"{rate:,.1f} a minute over {minutes:,} min")
        + f"; failed {requests['failed']:,} ({requests['failed_ratio']:.2%})"
        + (f"; in maintenance {requests['maintenance']:,}" if requests["maintenance"] else "")
    )
    statuses = "   ".join(
        f"{status or 'none'}: {count:,}" for status, count in requests["by_status"].items()
    )
    yield from _wrapped(statuses, "Statuses  ")
    yield ""
    times = report["service_time_ms"]
    by_type = times["by_process_type"] if len(times["by_process_type"]) > 1 else {}
    yield from _aligned(
        ["Service time (ms)", *(stat.name for stat in _TIME_STATS)],
        [
            [name, *(_number(value) for value in values.values())]
            for name, values in ({"all": times["all"]} | by_type).items()
        ],
    )
    yield ""


def _error_lines(report: dict[str, Any]) -> Iterator[str]:
    if not report["heroku_errors"]:
        return
    yield "Errors"
    for error in report["heroku_errors"]:
        indent = " " * 19
        yield f"  {error['code']:<6}{error['count']:>9,}  {error['title']}"
        peak = error["peak"]
        most = f", most at {_clock(report, peak['minute'])} ({peak['count']:,})"
        is_one_minute = error["first"] == error["last"]
        yield from _wrapped(_times(report, error) + ("" if is_one_minute else most), indent)
        yield from _wrapped(error["meaning"], indent)
    yield ""


def _event_lines(report: dict[str, Any]) -> Iterator[str]:
    if not report["events"]:
        return
    yield "Events"
    for event in report["events"]:
        details = [
            _detail(event["kind"], name) + ("" if count == 1 else f" ({count:,} times)")
            for name, count in event["details"].items()
        ]
        if len(details) > DETAILS_SHOWN:
            details[DETAILS_SHOWN:] = [f"{len(details) - DETAILS_SHOWN:,} more"]
        text = ": ".join(filter(None, (_times(report, event), ", ".join(details))))
        yield from _wrapped(text, f"  {event['kind']:<8}{event['count']:>7,}  ")
    yield ""


def _detail(kind: str, name: str) -> str:
    """A detail of an event. The name of a dyno is as in the table of dynos."""
    if kind in APP_EVENTS:
        return name
    source, space, rest = name.partition(" ")
    return f"{_short(source)}{space}{rest}"


def _times(report: dict[str, Any], occurrences: dict[str, Any]) -> str:
    """When something occurred first and last, such as "10:02 to 10:40"."""
    first, last = (_clock(report, occurrences[key]) for key in ("first", "last"))
    return first if first == last else f"{first} to {last}"


def _clock(report: dict[str, Any], iso: str) -> str:
    """A time of day; in a report on several days, with month and day."""
    is_one_day = report["start"][:10] == report["end"][:10]
    return iso[11:16] if is_one_day else f"{iso[5:10]} {iso[11:16]}"


def _wrapped(text: str, begin: str) -> list[str]:
    """Lines within WIDTH. `begin` begins the first; the others are indented as far."""
    return wrap(text, WIDTH, begin)


def _dyno_lines(dynos: Sequence[dict[str, Any]], day: str) -> Iterator[str]:
    if not dynos:
        return
    headings = ["Dyno", "requests", "errors", "avg ms", "max ms", "avg MB", "max MB", "quota"]
    rows = [_dyno_row(dyno, day) for dyno in dynos]
    yield from _aligned([*headings, "load", "max", "seen"], rows)
    yield ""


def _dyno_row(dyno: dict[str, Any], day: str) -> list[str]:
    """`day`: the last one covered. On it, "seen" is a time; on other days, month and day."""
    service, memory, load = (
        dyno[name] for name in ("service_time_ms", "memory_total_bytes", "load_avg_1m")
    )
    quota = dyno["memory_quota_used_ratio"]["max"]
    last_seen = dyno["last_seen"]
    return [
        _short(dyno["dyno"] or f"{dyno['process_type']} (no dyno)"),
        str(dyno["requests"]),
        str(dyno["errors"]),
        _number(service["avg"]),
        _number(service["max"]),
        *(_number(memory[stat], _MEBIBYTE) for stat in ("avg", "max")),
        "-" if quota is None else f"{quota:.0%}",
        *("-" if load[stat] is None else f"{load[stat]:.2f}" for stat in ("avg", "max")),
        "-" if not last_seen else last_seen[11:16] if last_seen[:10] == day else last_seen[5:10],
    ]


def _short(name: str) -> str:
    """The beginning and end of a long name, so that the table keeps its width."""
    return name if len(name) <= NAME_WIDTH else f"{name[:9]}…{name[10 - NAME_WIDTH :]}"


def _ledger_lines(ledger: dict[str, Any]) -> Iterator[str]:
    lines_unparsed = sum(ledger["unparsed"].values())
    yield (
        f"Lines     {ledger['received']:,} received = {ledger['counted']:,} counted "
        f"+ {ledger['ignored']:,} ignored + {lines_unparsed:,} not understood"
    )
    for reason, lines in ledger["unparsed"].items():
        text = f"{lines:,} {reason}: {REASONS.get(reason, reason)}"
        yield from _wrapped(text, " " * 10)
    if ledger["lost_upstream"]:
        lost = ledger["lost_upstream"]
        yield f"          {lost:,} more were dropped by Heroku upstream (L10, L12, L13)"


def _number(value: float | None, divisor: int = 1) -> str:
    """Below 100 with one decimal, unless it is a whole number."""
    if value is None:
        return "-"
    value /= divisor
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns two spaces apart: the first left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([first, *rest])
