"""/api/v1/apps/{app}/signal: an autoscaler's question in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.alerting.self_monitoring import spooling_since
from app.query.autoscaling import MINUTES_MAX, read_signal
from app.query.planner import QueryError, QueryRequest, plan
from app.rollup.resolutions import Resolution
from app.storage.interface import Reader
from app.web.api.problems import bad_parameter
from app.web.api.queries import require_app
from parsers.metrics import METRICS


class SignalParameters(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(json_schema_extra={"enum": list(METRICS)})
    stat: str | None = Field(None, description="As in /query; not bins")
    process_type: list[str] = Field(default_factory=list, description="web, worker, …; repeats")
    outcome: list[str] = Field(default_factory=list, description="ok, failed")
    minutes: int = Field(5, ge=1, le=MINUTES_MAX, description="Complete minutes, up to now")


class SignalBody(BaseModel):
    """Of the last complete minutes. Times in Unix seconds; `end` is not included."""

    app: str
    metric: str
    stat: str
    unit: str
    value: float | None = Field(
        description="null: there was none, which is no reason to scale down"
    )
    before: float | None = Field(description="Of as many minutes before")
    trend: float | None = Field(description="value / before - 1: 0.5 is half as much again")
    dynos: int = Field(description="Heard from in the last of the minutes")
    complete: bool = Field(
        description="Whether something was heard in each of the minutes, and none waits on disk"
    )
    start: int
    end: int


class AutoscalingApi:
    """The route, over a store."""

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
        """What a scaler needs to know: a value, where it goes, how many dynos make it"""
        await require_app(self._store, app)
        now_s = self._clock()
        filters = {"process_type": parameters.process_type, "outcome": parameters.outcome}
        stats = [parameters.stat] if parameters.stat else []
        try:
            asked = QueryRequest(parameters.metric, stats, [], filters, "now-1h", "now", "1m")
            query = plan(asked, [self._finest], now_s)[0]
        except QueryError as error:
            raise bad_parameter(error.parameter, error.value, error.accepted_values) from error
        (stat,) = query.stats
        if stat.method == "bins":
            raise bad_parameter("stat", "bins", "one value, such as p95")
        found = await read_signal(
            self._store,
            app,
            query.metric,
            stat,
            query.filters,
            parameters.minutes,
            self._finest,
            now_s,
        )
        waits = await spooling_since(self._store)
        return SignalBody(
            app=app,
            metric=query.metric.name,
            stat=stat.name,
            unit=query.metric.unit,
            value=found.value,
            before=found.previous_value,
            trend=found.trend,
            dynos=found.dynos,
            complete=found.active_minutes == parameters.minutes and not 0 < waits < found.end,
            start=found.start,
            end=found.end,
        )
