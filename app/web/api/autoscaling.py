"""/api/v1/apps/{app}/signal: everything an autoscaler needs, in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.query.autoscaling import MINUTES_MAX, read_signal
from app.query.planner import QueryError, QueryRequest, plan
from app.query.unmatched import unmatched_filters
from app.rollup.open_metrics import is_open
from app.rollup.resolutions import Resolution
from app.rollup.schema import METRICS
from app.rollup.statuses import OUTCOMES
from app.storage.interface.store import Reader
from app.verdicts.spooling import read_spooling_since
from app.web.api.problems import bad_parameter, query_problem
from app.web.api.queries import require_app


class SignalParameters(BaseModel):
    """The metric, its filters, and the number of minutes."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(
        description="A metric as in /query, such as queue_time_ms or custom.sample.NAME",
        examples=list(METRICS),
    )
    stat: str | None = Field(None, description="As in /query, but not bins")
    process_type: list[str] = Field(
        default_factory=list, description="Filter: web, worker, …; repeatable"
    )
    outcome: list[str] = Field(default_factory=list, description=f"Filter: {', '.join(OUTCOMES)}")
    source: list[str] = Field(
        default_factory=list, description="Filter: source= of the lines of custom metrics"
    )
    unit: list[str] = Field(
        default_factory=list,
        description="Filter: required for metrics whose names senders choose; may be empty",
    )
    minutes: int = Field(
        5, ge=1, le=MINUTES_MAX, description="Number of complete minutes before now"
    )


class SignalBody(BaseModel):
    """A value over the last complete minutes. Times in Unix seconds; `end` is not included."""

    app: str
    metric: str
    stat: str
    unit: str
    value: float | None = Field(
        description="null if there was no value; do not scale down because of it"
    )
    before: float | None = Field(description="The value over as many minutes before these")
    trend: float | None = Field(description="value / before - 1; 0.5 means 50 % more than before")
    dynos: int = Field(description="Number of dynos seen in the last of the minutes")
    complete: bool = Field(
        description="Whether each minute has a line, and none of their lines waits on disk"
    )
    start: int
    end: int
    warnings: list[str] = Field(description="Filters that match nothing")


class AutoscalingApi:
    """The signal's route."""

    def __init__(self, store: Reader, finest: Resolution, clock: Callable[[], float]) -> None:
        self._store = store
        self._finest = finest
        self._clock = clock
        self.router = APIRouter(prefix="/api/v1")
        self.router.add_api_route(
            "/apps/{app}/signal", self.signal, methods=["GET"], summary=self.signal.__doc__
        )

    async def signal(
        self, app: str, parameters: Annotated[SignalParameters, Query()]
    ) -> SignalBody:
        """For an autoscaler: a value, its trend, and the number of dynos behind it"""
        seen_app = await require_app(self._store, app)
        now_s = self._clock()
        filters = {
            label: getattr(parameters, label)
            for label in ("process_type", "outcome", "source", "unit")
        }
        if is_open(parameters.metric) and len(parameters.unit) != 1:
            raise bad_parameter(
                "unit", None, "one unit, such as ms, since a value has one; empty for none"
            )
        stats = [parameters.stat] if parameters.stat else []
        try:
            request = QueryRequest(parameters.metric, stats, [], filters, "now-1h", "now", "1m")
            query = plan(request, [self._finest], now_s)[0]
        except QueryError as error:
            raise query_problem(error) from error
        (stat,) = query.stats
        if stat.method == "bins":
            raise bad_parameter("stat", "bins", "stats with one value, such as p95")
        signal = await read_signal(
            self._store,
            seen_app,
            query.metric,
            stat,
            query.filters,
            parameters.minutes,
            self._finest,
            now_s,
        )
        warnings = await unmatched_filters(self._store, [app], query, is_empty=not signal.value)
        spooling_since_s = await read_spooling_since(self._store)
        return SignalBody(
            app=app,
            metric=query.metric.name,
            stat=stat.name,
            unit=query.metric.unit or "".join(parameters.unit),
            value=signal.value,
            before=signal.previous_value,
            trend=signal.trend,
            dynos=signal.dynos,
            complete=signal.active_minutes == parameters.minutes
            and not 0 < spooling_since_s < signal.end,
            start=signal.start,
            end=signal.end,
            warnings=warnings,
        )
