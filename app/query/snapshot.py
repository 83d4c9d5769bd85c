"""Snapshots: answers to all questions of a page about an app, from one scan of a time range.

The pages need dozens of series of the same range. A page declares its questions; one pass over the
rollups answers them all, each as the API would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.query.engine import Series, build_series, natural_order, scan, scan_each
from app.query.history import (
    EVENT_SECTIONS,
    events_within,
    ledger_counts,
    ledger_query,
    slot_before,
)
from app.query.maintenance_events import maintenance_queries, read_maintenance
from app.query.open_names import OPEN_SECTIONS, OpenMetric, metrics_in
from app.query.planner import build_query
from app.query.rates import mean_per_minute, rates_per_minute
from app.query.selection import WHOLE_APP, Selection
from app.query.stats import SketchBin, Value
from app.query.table import Query, QueryCells, QueryRange
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.open_metrics import known_metric
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.time_range import TimeRange
from app.storage.interface.rollups import RollupReader
from parsers.samples import labels_of

_MS = 1000
PAGE_SECTIONS = EVENT_SECTIONS | OPEN_SECTIONS - {"addon_samples"} | {"active_minutes"}
_ANY_RANGE = QueryRange(0, MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))


class Question(NamedTuple):
    """A question about a metric.

    by           a label, or "" for a single series
    also_by      a second label, for `AppSnapshot.counts`; "" for none
    whole_range  one value, instead of a value per step
    by_slot      a value per stored slot, which rates are made of
    last_steps   only about the last steps of the range; 0 for all
    filters      (label, accepted values) pairs, which replace those of the selection
    """

    metric: str
    stats: tuple[str, ...]
    by: str = ""
    whole_range: bool = False
    by_slot: bool = False
    last_steps: int = 0
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    also_by: str = ""

    def plan(self, time_range: QueryRange, selection: Selection) -> Query:
        """The query that answers the question for a selected part of an app.

        Raises:
            QueryError: the metric has no such stat or label.
        """
        if selection == WHOLE_APP:
            return _plan_whole_app(self).over(self._range(time_range))
        return self._build(selection).over(self._range(time_range))

    def _build(self, selection: Selection) -> Query:
        filters = {**selection.filters(known_metric(self.metric)), **dict(self.filters)}
        by = [label for label in (self.by, self.also_by) if label]
        return build_query(_ANY_RANGE, self.metric, self.stats, by, filters)

    def _range(self, time_range: QueryRange) -> QueryRange:
        start, end, step_s, resolution = time_range
        if self.last_steps:
            start = max(start, end - self.last_steps * step_s)
        if self.by_slot:
            step_s = resolution.seconds
        return QueryRange(start, end, end - start if self.whole_range else step_s, resolution)


@lru_cache(maxsize=256)
def _plan_whole_app(question: Question) -> Query:
    """Plan once, so that all snapshots share what the query caches about rows."""
    return question._build(WHOLE_APP)


class AppSnapshot:
    """One app, or a selected part of it, over `time_range` in steps of `time_range.step_s`.

    It answers the questions that it was read for; another one raises a KeyError.

    sources  the start of the last slot in which each source of the app was active, Unix seconds
    ledger   messages by result
    open_metrics  the metrics that senders named and that have data
    """

    def __init__(
        self,
        app: str,
        time_range: QueryRange,
        selection: Selection,
        answers: Mapping[Question, tuple[Query, QueryCells]],
        sources: Mapping[str, int],
        events: Mapping[EventKey, int],
        ledger: dict[str, int],
        open_metrics: Sequence[OpenMetric] = (),
    ) -> None:
        self.app = app
        self.time_range = time_range
        self.selection = selection
        self.sources = sources
        self.ledger = ledger
        self.open_metrics = open_metrics
        self._events = events
        self._answers = answers
        self._series: dict[Question, list[Series]] = {}
        self._by_dyno: dict[Question, dict[str, list[Value]]] = {}

    def series(self, question: Question) -> list[Series]:
        """The series that answer a question. Charts and figures share some, so they are cached.

        Raises:
            TooManySeries
        """
        if question not in self._series:
            self._series[question] = build_series(*self._answers[question])
        return self._series[question]

    def value(self, question: Question) -> Value:
        """The value of a single series for the whole range."""
        return self.series(question)[0].numbers[-1]

    def values_by(self, question: Question) -> dict[str, Value]:
        """One value for the whole range, by the values of the question's label."""
        return {series.labels[question.by]: series.numbers[-1] for series in self.series(question)}

    def counts(self, question: Question) -> dict[tuple[str, ...], int]:
        """One count for the whole range, by the values of the question's labels.

        Not limited in number, as these are numbers only.
        """
        query, cells = self._answers[question]
        (stat,) = query.stats
        keys = cells.keys()
        counts = {key: cells.values(key, None, stat, range(1))[0] for key in keys}
        return {key: count for key, count in counts.items() if isinstance(count, int)}

    def points(self, question: Question) -> list[Value]:
        """A value per step."""
        return self.series(question)[0].numbers

    def points_by(self, question: Question) -> dict[str, list[Value]]:
        """A value per step, by the values of the question's label."""
        return {series.labels[question.by]: series.numbers for series in self.series(question)}

    def points_by_dyno(self, question: Question) -> dict[str, list[Value]]:
        """A value per step of each dyno alone, for a question about a gauge in a single series.

        The dynos are in natural order. Grouping by dyno gives the same, but keeps a cell for each
        dyno and step.
        """
        if question not in self._by_dyno:
            query, cells = self._answers[question]
            (stat,) = query.stats
            by_source = cells.values_by_source(stat)
            dynos = {labels_of(source)[1]: values for source, values in by_source.items()}
            names = sorted(filter(None, dynos), key=lambda name: natural_order((name,)))
            self._by_dyno[question] = {name: dynos[name] for name in names}
        return self._by_dyno[question]

    def values_by_dyno(self, question: Question) -> dict[str, Value]:
        """The same for the whole range."""
        return {name: values[-1] for name, values in self.points_by_dyno(question).items()}

    def sketch_bins(self, question: Question) -> list[list[SketchBin]]:
        """The sketch of a distribution, per step, for a question that has the stat bins."""
        (bins,) = [series for series in self.series(question) if series.stat == "bins"]
        return [value if isinstance(value, list) else [] for value in bins.values]

    def mean_per_minute(self, slot_counts: Sequence[Value], complete: TimeRange) -> Value:
        """The rate over the whole range, from the answer to a question `by_slot`."""
        start, _, _, resolution = self.time_range
        return mean_per_minute(slot_counts, start, resolution.seconds, complete)

    def per_minute(self, slot_counts: Sequence[Value], complete: TimeRange) -> list[Value]:
        """The rate in each step, from the answer to a question `by_slot`."""
        start, _, step_s, resolution = self.time_range
        size = step_s // resolution.seconds
        if size == 1:
            return rates_per_minute(slot_counts, start, step_s, complete)
        return [
            mean_per_minute(
                slot_counts[index * size : (index + 1) * size],
                start + index * step_s,
                resolution.seconds,
                complete,
            )
            for index in range(self.time_range.size)
        ]

    @property
    def last_active_s(self) -> dict[str, int]:
        """`sources`, of the selected dynos only."""
        return {
            source: at_s for source, at_s in self.sources.items() if self.selection.includes(source)
        }

    @property
    def events(self) -> list[tuple[EventKey, int]]:
        """(event, count) pairs, in order of time."""
        counts = self._events
        return [(event, counts[event]) for event in sorted(counts) if event != MORE_EVENTS]


async def read_snapshot(
    store: RollupReader,
    app: str,
    time_range: QueryRange,
    questions: Collection[Question],
    selection: Selection = WHOLE_APP,
    *,
    whole_sections: frozenset[str] = PAGE_SECTIONS,
) -> AppSnapshot:
    """Read an app once, to answer these questions.

    Without `whole_sections`, sources, events, ledger and open metrics are not read and stay empty.

    Raises:
        QueryError, StoreUnavailable, NewerVersion
    """
    queries = {question: question.plan(time_range, selection) for question in questions}
    all_queries = list(queries.values())
    scanned = time_range
    if whole_sections:
        all_queries += [*maintenance_queries(time_range), ledger_query(time_range)]
        scanned = time_range._replace(start=slot_before(time_range).start)
    table = await scan(store, [app], scanned, all_queries, whole_sections)
    results = table.results()
    ledger: dict[str, int] = {}
    events: Mapping[EventKey, int] = {}
    if whole_sections:
        *results, requests, codes, ledger_cells = results
        ledger = ledger_counts(ledger_cells)
        maintenance = await read_maintenance(store, app, time_range, [requests, codes])
        events = events_within(time_range, table.merged_rollup.all_events) | maintenance
    last_active_s = table.last_active_s()
    return AppSnapshot(
        app,
        time_range,
        selection,
        dict(zip(queries, zip(queries.values(), results, strict=True), strict=True)),
        {source: at_s for source, at_s in last_active_s.items() if at_s >= time_range.start},
        events,
        ledger,
        metrics_in(table.merged_rollup),
    )


async def read_snapshots(
    store: RollupReader,
    apps: Sequence[str],
    time_range: QueryRange,
    questions: Collection[Question],
) -> AsyncIterator[AppSnapshot]:
    """Read several apps, to answer these questions. Sources, events and ledger stay empty.

    Raises:
        QueryError, StoreUnavailable, NewerVersion
    """
    queries = {question: question.plan(time_range, WHOLE_APP) for question in questions}
    async for app, table in scan_each(store, apps, time_range, list(queries.values())):
        answers = zip(queries.values(), table.results(), strict=True)
        yield AppSnapshot(
            app, time_range, WHOLE_APP, dict(zip(queries, answers, strict=True)), {}, {}, {}
        )
