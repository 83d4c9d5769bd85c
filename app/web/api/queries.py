"""The query API: /api/v1/apps, /metadata, /query, /apps/{app}/query and /apps/{app}/ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.drain_registry import valid_app
from app.ingest.aggregator import REPLAY_PAST_S, AcceptanceWindow
from app.query import engine, history
from app.query.ledger import Ledger, build_ledger
from app.query.open_names import OpenMetric, list_open_metrics, read_dropped
from app.query.planner import LABELS, QueryError, QueryRequest, plan, plan_range
from app.query.rates import SETTLED_AFTER_S
from app.query.table import Query as MetricQuery
from app.query.unmatched import unmatched_filters
from app.rollup.open_metrics import is_open
from app.rollup.resolutions import Resolution
from app.rollup.rollup import CardinalityLimits
from app.rollup.schema import METRICS, OTHER, SECTION
from app.rollup.statuses import OUTCOMES
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import HistoryUnavailable
from app.storage.interface.store import Reader
from app.web.api.caching import cacheable
from app.web.api.encoding import rows_csv, rows_json, series_json
from app.web.api.problems import Problem, bad_parameter, query_problem

RUNTIME_METRICS_WITHIN_S = 3600
_LIMITED_LABELS = (  # label, its plural in words, field of CardinalityLimits, setting
    ("process_type", "process types", "process_types", "DYNOMETER_PROCESS_TYPES_MAX"),
    ("dyno", "dynos", "dynos", "DYNOMETER_DYNOS_MAX"),
    ("code", "codes", "codes", "DYNOMETER_CODES_MAX"),
    ("status", "statuses", "statuses", "DYNOMETER_STATUSES_MAX"),
)


class RangeParameters(BaseModel):
    """The time range."""

    model_config = ConfigDict(extra="forbid")

    start: str | None = Field(
        None,
        description="RFC 3339, Unix seconds or milliseconds, now, now-6h. "
        "Default: one hour before end",
    )
    end: str | None = Field(None, description="Like start; not included. Default: now")


class QueryParameters(RangeParameters):
    """A metric, its statistics, and filters. A filter is repeatable ("any of") and may contain *
    and ?.
    """

    metric: str = Field(
        description="A name from /api/v1/metadata, custom.count.NAME, custom.measure.NAME, "
        "custom.sample.NAME, language.count.NAME, language.sample.NAME, or addon.SERVICE.NAME",
        examples=list(METRICS),
    )
    stat: list[str] = Field(
        default_factory=list,
        description="Repeatable. Counters: sum, rate. Distributions: p95 (or another percentile), "
        "le_500 (share within 500 ms, or another number), avg, max, count, bins (the sketch). "
        "Gauges: avg, max, min, last, sum",
    )
    by: list[str] = Field(
        default_factory=list,
        description=f"Repeatable; one series per value of {', '.join(LABELS)}",
    )
    step: str | None = Field(
        None,
        description="1m, 10m, 1h, 1d, 1w, a multiple, seconds, or range for one value. "
        "Default: chosen for at most about 300 points",
    )
    format: Literal["series", "rows", "csv"] = Field(
        "series", description="rows: one object per time and label set; csv: the same as CSV"
    )
    app: list[str] = Field(default_factory=list, description="Filter: apps")
    process_type: list[str] = Field(default_factory=list, description="Filter: web, worker, …")
    dyno: list[str] = Field(default_factory=list, description="Filter: web.1, …")
    status: list[str] = Field(default_factory=list, description="Filter: 200, 503, …")
    status_class: list[str] = Field(default_factory=list, description="Filter: 2xx, 5xx, …")
    code: list[str] = Field(default_factory=list, description="Filter: H12, R14, …")
    outcome: list[str] = Field(default_factory=list, description=f"Filter: {', '.join(OUTCOMES)}")
    exit_status: list[str] = Field(default_factory=list, description="Filter: 0, 137, …")
    source: list[str] = Field(
        default_factory=list, description="Filter: source= of the lines of custom metrics"
    )
    unit: list[str] = Field(default_factory=list, description="Filter: ms, bytes, or empty")
    addon: list[str] = Field(default_factory=list, description="Filter: postgresql-curved-12345, …")
    attachment: list[str] = Field(default_factory=list, description="Filter: DATABASE, REDIS, …")

    @property
    def is_fixed(self) -> bool:
        """Whether the range is absolute, so that the same query means the same time tomorrow."""
        return all(time is not None and "now" not in time for time in (self.start, self.end))

    def to_request(self) -> QueryRequest:
        """The request for the query planner."""
        filters = {name: getattr(self, name) for name in LABELS}
        return QueryRequest(
            self.metric, self.stat, self.by, filters, self.start, self.end, self.step
        )


class AppInfo(BaseModel):
    """An app that has data. Times in Unix seconds."""

    app: str
    first_seen: int = Field(description="Time of its first log line")
    last_seen: int = Field(description="Time of its last log line; may lag by 5 seconds")
    runtime_metrics: bool = Field(
        description="Whether dynos report memory and load (labs: log-runtime-metrics)"
    )
    origin: str = Field(
        description="Where its lines come from: drain, if any line ever came from a log drain, "
        "else replay or simulation"
    )
    notifies: bool = Field(description="Whether its alerts are sent; by default only for a drain")


class Apps(BaseModel):
    """Every app, in order of name."""

    apps: list[AppInfo]


class MetricInfo(BaseModel):
    """A metric of the catalogue."""

    name: str
    unit: str
    kind: str
    labels: list[str]
    stats: list[str]
    help: str


class LimitsInfo(BaseModel):
    """Number of names kept separately per app and interval. The first in natural order are kept;
    the others are combined as `other` (statuses by their class).
    """

    process_types: int
    dynos: int
    statuses: int
    codes: int
    open_names: int = Field(
        description="Names of custom metrics; as many of language metrics and of add-ons. Further "
        "ones are dropped"
    )
    open_series: int = Field(description="Their series, with their sources")


class OpenMetricInfo(MetricInfo):
    """A metric with a name that its sender chose: the app, a language runtime or an add-on."""

    sources: list[str] = Field(description="Values of its label source or attachment")


class Metadata(BaseModel):
    """The catalogue of metrics, and the limits on names."""

    metrics: list[MetricInfo]
    open_metrics: list[OpenMetricInfo] = Field(
        description="With ?app=: the metrics of the app that are not in the catalogue, and had "
        "data in the last 24 hours. One of two units is listed twice"
    )
    complete_after_s: int = Field(
        description="An interval is complete this many seconds after its end. Earlier, sums are "
        "too low, and there is no rate"
    )
    limits: LimitsInfo


class SeriesBody(BaseModel):
    """A series. Value i belongs to start + i · step_s; null means no data. With stat=bins a value
    is a list of [lowest value, highest value, number of values].
    """

    labels: dict[str, str]
    stat: str
    complete_until: int = Field(
        description="Intervals that end later are not complete: their values may still change"
    )
    values: list[int | float | list[tuple[float, float, int]] | None]


class AnswerHead(BaseModel):
    """The query as it was answered. Times in Unix seconds; `end` is not included."""

    app: str | None = None
    metric: str
    unit: str
    step_s: int
    start: int
    end: int
    complete_until: int = Field(
        description="Intervals before this time will hardly change; the rest is not complete"
    )
    warnings: list[str]


class QueryBody(AnswerHead):
    """An answer with format=series."""

    series: list[SeriesBody]


class RowsBody(AnswerHead):
    """An answer with format=rows."""

    rows: list[dict[str, Any]] = Field(
        description="One object per time and label set: `time`, the labels, a field per stat, "
        "and `complete`: whether the interval will hardly change"
    )


_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}


class QueriesApi:
    """The routes."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        limits: CardinalityLimits,
        acceptance: AcceptanceWindow,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._limits = limits
        self._acceptance = acceptance
        self._resolutions = resolutions
        self._clock = clock
        self.router = APIRouter(prefix="/api/v1")
        query_models = QueryBody | RowsBody
        routes: tuple[tuple[str, Any, Any, Any], ...] = (
            ("/apps", self.apps, Apps, None),
            ("/metadata", self.metadata, Metadata, None),
            ("/query", self.query, query_models, _CSV),
            ("/apps/{app}/query", self.query_app, query_models, _CSV),
            ("/apps/{app}/ledger", self.ledger, Ledger, None),
        )
        for path, endpoint, model, responses in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                response_model=model,
                summary=endpoint.__doc__,
                responses=responses,
            )

    async def apps(self) -> Apps:
        """Apps that have data"""
        return Apps(apps=[_app_info(app) for app in await self._store.seen_apps()])

    async def metadata(self, app: str | None = None) -> Metadata:
        """The catalogue of metrics, with unit, kind, labels and stats"""
        open_metrics: Sequence[OpenMetric] = ()
        if app is not None:
            await require_app(self._store, app)
            open_metrics = await list_open_metrics(self._store, app, self._clock())
        return Metadata(
            metrics=[MetricInfo(**metric._asdict()) for metric in METRICS.values()],
            open_metrics=[
                OpenMetricInfo(**(metric._asdict() | {"unit": unit}), sources=list(sources))
                for metric, unit, sources in open_metrics
            ],
            complete_after_s=SETTLED_AFTER_S,
            limits=LimitsInfo(**self._limits._asdict()),
        )

    async def query(
        self, request: Request, parameters: Annotated[QueryParameters, Query()]
    ) -> Response:
        """A metric over time, for all apps or some"""
        seen_apps = {app.app: app for app in await self._store.seen_apps()}
        names = engine.match_apps(list(seen_apps), parameters.app)
        return await self._answer(request, None, [seen_apps[name] for name in names], parameters)

    async def query_app(
        self, request: Request, app: str, parameters: Annotated[QueryParameters, Query()]
    ) -> Response:
        """A metric over time, for one app"""
        seen_app = await require_app(self._store, app)
        return await self._answer(request, app, [seen_app], parameters)

    async def ledger(self, app: str, parameters: Annotated[RangeParameters, Query()]) -> Ledger:
        """The accounting of every log message, by minute of arrival"""
        await require_app(self._store, app)
        try:
            time_range, _ = plan_range(
                parameters.start, parameters.end, "range", self._resolutions, self._clock()
            )
        except QueryError as error:
            raise query_problem(error) from error
        counts = await history.read_ledger(self._store, app, time_range)
        return build_ledger(counts, app=app, start=time_range.start, end=time_range.end)

    async def _answer(
        self,
        request: Request,
        app: str | None,
        apps: Sequence[SeenApp],
        parameters: QueryParameters,
    ) -> Response:
        now_s = self._clock()
        try:
            query, warnings = plan(parameters.to_request(), self._resolutions, now_s)
            answer = await engine.answer(self._store, apps, query, now_s)
            warnings += await unmatched_filters(
                self._store, [app.app for app in apps], query, is_empty=answer.is_empty
            )
        except QueryError as error:
            raise query_problem(error) from error
        except engine.TooManySeries as error:
            raise Problem(400, "Too many series", str(error), parameter="by") from error
        warnings += await self._open_warnings(query, answer, [app.app for app in apps])
        head: dict[str, Any] = {
            **({"app": app} if app is not None else {}),
            "metric": query.metric.name,
            "unit": _unit(query, answer),
            "step_s": query.range.step_s,
            "start": query.range.start,
            "end": query.range.end,
            "complete_until": answer.complete_until,
            "warnings": [*warnings, *_limit_warnings(answer, self._limits)],
        }
        response = await _encode(query, answer, head, parameters.format, request)
        age_s = now_s - query.range.end
        if parameters.is_fixed and age_s >= self._acceptance.past_s:
            # Not even a replay can add lines that are older than REPLAY_PAST_S.
            return cacheable(response, request, is_final=age_s >= REPLAY_PAST_S)
        return response

    async def _open_warnings(
        self, query: MetricQuery, answer: engine.Answer, apps: Sequence[str]
    ) -> list[str]:
        """Sentences about several units, and about values that the limits dropped."""
        warnings = []
        units = sorted({series.labels.get("unit", "") for series in answer.series})
        if len(units) > 1:
            names = ", ".join(unit or "none" for unit in units)
            warnings.append(
                f"{query.metric.name} has several units: {names}. Each is a metric of its own"
            )
        family = SECTION[query.metric.sections[0]].family
        dropped = 0
        if family:
            dropped = await read_dropped(self._store, apps, query.range, family)
        if dropped:
            warnings.append(
                f"{dropped:,} {family} values in this range were dropped: they were unreadable, or "
                f"over {self._limits.open_names} names or {self._limits.open_series:,} series "
                "(DYNOMETER_CUSTOM_NAMES_MAX, DYNOMETER_CUSTOM_SERIES_MAX)"
            )
        return warnings


async def _encode(
    query: MetricQuery,
    answer: engine.Answer,
    head: dict[str, Any],
    format_name: str,
    request: Request,
) -> Response:
    if format_name == "csv" or "text/csv" in request.headers.get("accept", ""):
        _reject_bins(query)
        return Response(await rows_csv(query, answer), media_type="text/csv")
    if format_name == "rows":
        return Response(await rows_json(head, query, answer), media_type="application/json")
    return Response(await series_json(head, answer), media_type="application/json")


def _unit(query: MetricQuery, answer: engine.Answer) -> str:
    """The unit of the answer; "" if its series have several."""
    if not is_open(query.metric.name):
        return query.metric.unit
    units = {series.labels["unit"] for series in answer.series}
    return units.pop() if len(units) == 1 else ""


def _reject_bins(query: MetricQuery) -> None:
    if any(stat.method == "bins" for stat in query.stats):
        raise bad_parameter(
            "stat", "bins", "all other stats with CSV, because a CSV field cannot hold a list"
        )


def _limit_warnings(answer: engine.Answer, limits: CardinalityLimits) -> list[str]:
    """A sentence for each label with values that a limit has combined."""
    values: dict[str, set[str]] = {}
    for series in answer.series:
        for label, value in series.labels.items():
            values.setdefault(label, set()).add(value)
    return [
        f"some {plural} are combined as 'other' (statuses by their class), because an interval "
        f"keeps at most {getattr(limits, field)} {plural} ({setting})"
        for label, plural, field, setting in _LIMITED_LABELS
        if any(_is_combined(label, value) for value in values.get(label, ()))
    ]


def _is_combined(label: str, value: str) -> bool:
    if label == "status":
        return value.endswith("xx")
    return value == OTHER or (label == "dyno" and value.endswith(f".{OTHER}"))


async def require_app(store: Reader, app: str) -> SeenApp:
    """An app that has data or a drain, and that the current request may see.

    Without data, all its times are 0.

    Raises:
        Problem: 404 otherwise.
        StoreUnavailable: also if only the archive may know it, and does not answer.
    """
    if valid_app(app):
        try:
            if seen_app := await store.find_app(app):
                return seen_app
        except HistoryUnavailable:
            if app not in await store.drains():
                raise
        if app in await store.drains():
            return SeenApp(app, 0, 0, 0)
    raise Problem(
        404,
        "Unknown app",
        f"No log lines have been received from {app!r}. /api/v1/apps lists all known apps.",
    )


def _app_info(sighting: SeenApp) -> AppInfo:
    recent = sighting.runtime_metrics_s >= sighting.last_seen_s - RUNTIME_METRICS_WITHIN_S
    return AppInfo(
        app=sighting.app,
        first_seen=sighting.first_seen_s,
        last_seen=sighting.last_seen_s,
        runtime_metrics=bool(sighting.runtime_metrics_s) and recent,
        origin=sighting.origin.kind,
        notifies=sighting.origin.notifies,
    )
