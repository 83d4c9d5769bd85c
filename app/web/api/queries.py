"""The query API, under /api/v1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.drain_registry import valid_app
from app.ingest.aggregator import AcceptanceWindow
from app.query import engine as queries
from app.query import history
from app.query import table as collect
from app.query.ledger import Ledger, build_ledger
from app.query.planner import LABELS, QueryError, QueryRequest, plan, plan_range
from app.receivers.http_drain import REPLAY_PAST_S
from app.rollup.resolutions import Resolution
from app.rollup.rollup import OTHER, CardinalityLimits
from app.storage.interface import Reader, SeenApp
from app.web.api.caching import kept
from app.web.api.encoding import rows_csv, rows_json, series_json
from app.web.api.problems import Problem, bad_parameter
from parsers.metrics import METRICS

RUNTIME_METRICS_WITHIN_S = 3600
_CAPPED = (  # label, how it is called, field of Caps, setting
    ("process_type", "process types", "process_types", "DYNOMETER_PROCESS_TYPES_MAX"),
    ("dyno", "dynos", "dynos", "DYNOMETER_DYNOS_MAX"),
    ("code", "codes", "codes", "DYNOMETER_CODES_MAX"),
    ("status", "statuses", "statuses", "DYNOMETER_STATUSES_MAX"),
)


class RangeParameters(BaseModel):
    """Which time."""

    model_config = ConfigDict(extra="forbid")

    start: str | None = Field(
        None,
        description="RFC 3339, Unix seconds or milliseconds, now, now-6h. "
        "Default: an hour before end",
    )
    end: str | None = Field(None, description="As start; not included. Default: now")


class QueryParameters(RangeParameters):
    """What is asked of which metric. Filters repeat (any of the values) and take * and ?."""

    metric: str = Field(
        description="A name from /api/v1/metadata", json_schema_extra={"enum": list(METRICS)}
    )
    stat: list[str] = Field(
        default_factory=list,
        description="Repeats. Counters: sum, rate. Distributions: p95 (any), le_500 (share within "
        "500 ms; any), avg, max, count, bins (the sketch). Gauges: avg, max, min, last, sum",
    )
    by: list[str] = Field(
        default_factory=list, description=f"Repeats: one series per value of {', '.join(LABELS)}"
    )
    step: str | None = Field(
        None,
        description="1m, 10m, 1h, a multiple, seconds, or range for one value. "
        "Default: at most about 300 points",
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
    outcome: list[str] = Field(default_factory=list, description="Filter: ok, failed")
    exit_status: list[str] = Field(default_factory=list, description="Filter: 0, 137, …")

    @property
    def is_fixed(self) -> bool:
        """Whether the same question means the same time tomorrow."""
        return all(time is not None and "now" not in time for time in (self.start, self.end))

    def asked(self) -> QueryRequest:
        """As app.query.planner takes it."""
        filters = {name: getattr(self, name) for name in LABELS}
        return QueryRequest(
            self.metric, self.stat, self.by, filters, self.start, self.end, self.step
        )


class AppInfo(BaseModel):
    """An app we have data of; times in Unix seconds."""

    app: str
    first_seen: int
    last_seen: int
    runtime_metrics: bool = Field(
        description="Whether dynos report memory and load (labs: log-runtime-metrics)"
    )


class Apps(BaseModel):
    """Every app, by name."""

    apps: list[AppInfo]


class MetricInfo(BaseModel):
    """One metric of the catalogue."""

    name: str
    unit: str
    kind: str
    labels: list[str]
    stats: list[str]
    help: str


class LimitsInfo(BaseModel):
    """How many names of an app are told apart in an interval; the first in natural order are, the
    others are summed up as `other` (statuses as their class).
    """

    process_types: int
    dynos: int
    statuses: int
    codes: int


class Metadata(BaseModel):
    """The catalogue."""

    metrics: list[MetricInfo]
    limits: LimitsInfo


class SeriesBody(BaseModel):
    """Value i belongs to start + i · step_s; null where nothing is known. Of stat=bins a value is a
    list of [lowest ms, highest ms, how many values].
    """

    labels: dict[str, str]
    stat: str
    values: list[int | float | list[tuple[int, int, int]] | None]


class AnswerHead(BaseModel):
    """What is answered. Times in Unix seconds; `end` is not included."""

    app: str | None = None
    metric: str
    unit: str
    step_s: int
    start: int
    end: int
    complete_until: int = Field(description="Intervals before it will hardly change")
    warnings: list[str]


class QueryBody(AnswerHead):
    """An answer."""

    series: list[SeriesBody]


class RowsBody(AnswerHead):
    """An answer with format=rows."""

    rows: list[dict[str, Any]] = Field(
        description="One object per time and label set: `time`, the labels, and a column per stat"
    )


_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}


class QueriesApi:
    """The routes, over a store."""

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
        answered = QueryBody | RowsBody
        routes: tuple[tuple[str, Any, Any, Any], ...] = (
            ("/apps", self.apps, Apps, None),
            ("/metadata", self.metadata, Metadata, None),
            ("/query", self.query, answered, _CSV),
            ("/apps/{app}/query", self.query_app, answered, _CSV),
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
        """Apps we have data of"""
        return Apps(apps=[_app_info(seen) for seen in await self._store.seen_apps()])

    async def metadata(self) -> Metadata:
        """Every metric: its unit, kind, labels and stats"""
        return Metadata(
            metrics=[MetricInfo(**metric._asdict()) for metric in METRICS.values()],
            limits=LimitsInfo(**self._limits._asdict()),
        )

    async def query(
        self, request: Request, parameters: Annotated[QueryParameters, Query()]
    ) -> Response:
        """A metric over time, of all apps or some"""
        known = [seen.app for seen in await self._store.seen_apps()]
        apps = queries.match_apps(known, parameters.app)
        return await self._answer(request, None, apps, parameters)

    async def query_app(
        self, request: Request, app: str, parameters: Annotated[QueryParameters, Query()]
    ) -> Response:
        """A metric of one app over time"""
        await require_app(self._store, app)
        return await self._answer(request, app, [app], parameters)

    async def ledger(self, app: str, parameters: Annotated[RangeParameters, Query()]) -> Ledger:
        """What became of each log message, by minute of arrival"""
        await require_app(self._store, app)
        try:
            span, _ = plan_range(
                parameters.start, parameters.end, "range", self._resolutions, self._clock()
            )
        except QueryError as error:
            raise bad_parameter(error.parameter, error.value, error.accepted_values) from error
        counts = await history.read_ledger(self._store, app, span)
        return build_ledger(counts, app=app, start=span.start, end=span.end)

    async def _answer(
        self,
        request: Request,
        app: str | None,
        apps: Sequence[str],
        parameters: QueryParameters,
    ) -> Response:
        now_s = self._clock()
        try:
            query, warnings = plan(parameters.asked(), self._resolutions, now_s)
            answer = await queries.answer(self._store, apps, query, now_s)
        except QueryError as error:
            raise bad_parameter(error.parameter, error.value, error.accepted_values) from error
        except queries.TooManySeries as error:
            raise Problem(400, "Too many series", str(error), parameter="by") from error
        head: dict[str, Any] = {
            **({"app": app} if app is not None else {}),
            "metric": query.metric.name,
            "unit": query.metric.unit,
            "step_s": query.range.step_s,
            "start": query.range.start,
            "end": query.range.end,
            "complete_until": answer.complete_until,
            "warnings": [*warnings, *_cap_warnings(answer, self._limits)],
        }
        response = await _written(query, answer, head, parameters.format, request)
        age_s = now_s - query.range.end
        if parameters.is_fixed and age_s >= self._acceptance.past_s:
            return kept(response, request, for_ever=age_s >= REPLAY_PAST_S)
        return response


async def _written(
    query: collect.Query,
    answer: queries.Answer,
    head: dict[str, Any],
    form: str,
    request: Request,
) -> Response:
    if form == "csv" or "text/csv" in request.headers.get("accept", ""):
        _refuse_bins(query)
        return Response(await rows_csv(query, answer), media_type="text/csv")
    if form == "rows":
        return Response(await rows_json(head, query, answer), media_type="application/json")
    return Response(await series_json(head, answer), media_type="application/json")


def _refuse_bins(query: collect.Query) -> None:
    if any(stat.method == "bins" for stat in query.stats):
        raise bad_parameter("stat", "bins", "all others with CSV: a field cannot hold a list")


def _cap_warnings(answer: queries.Answer, limits: CardinalityLimits) -> list[str]:
    """A sentence for each label of which not all values are told apart."""
    values: dict[str, set[str]] = {}
    for series in answer.series:
        for label, value in series.labels.items():
            values.setdefault(label, set()).add(value)
    return [
        f"some {called} are summed up as 'other' (statuses as their class): an interval tells "
        f"{getattr(limits, field)} apart ({setting})"
        for label, called, field, setting in _CAPPED
        if any(_is_summed_up(label, value) for value in values.get(label, ()))
    ]


def _is_summed_up(label: str, value: str) -> bool:
    if label == "status":
        return value.endswith("xx")
    return value == OTHER or (label == "dyno" and value.endswith(f".{OTHER}"))


async def require_app(store: Reader, app: str) -> None:
    """
    Raises:
        Problem: 404 for an app that we neither heard from nor expect to.
    """
    if valid_app(app):
        if any(seen.app == app for seen in await store.seen_apps()):
            return
        if app in await store.drains():
            return
    raise Problem(
        404,
        "Unknown app",
        f"Nothing was ever received from {app!r}; /api/v1/apps lists the apps we know.",
    )


def _app_info(seen: SeenApp) -> AppInfo:
    recent = seen.runtime_metrics_s >= seen.last_seen_s - RUNTIME_METRICS_WITHIN_S
    return AppInfo(
        app=seen.app,
        first_seen=seen.first_seen_s,
        last_seen=seen.last_seen_s,
        runtime_metrics=bool(seen.runtime_metrics_s) and recent,
    )
