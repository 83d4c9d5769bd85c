"""/api/v1/verdicts, /apps/{app}/verdict and /apps/{app}/episodes: whether apps are all right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.judgement.verdict import FINDINGS, REASONS, State
from app.query.planner import QueryError, plan_range
from app.rollup.resolutions import Resolution
from app.rollup.time_range import TimeRange
from app.storage.interface.store import Reader
from app.verdicts.fleet import find_fleet
from app.verdicts.public_fields import episode_fields, verdict_fields, verdicts_fields
from app.verdicts.urgency import latest_first, worst_first
from app.verdicts.verdict_reader import VerdictReader
from app.web.api.problems import query_problem
from app.web.api.queries import RangeParameters, require_app


class WhoBody(BaseModel):
    """The part of the app that a finding is about."""

    process_type: str = Field(description="Empty for the whole app, or if it is not known")
    dyno: str = Field(description="The first of `dynos`; empty if none stands out")
    dynos: list[str] = Field(description="The dynos that stand out; empty if all are alike")
    scope: Literal["everyone", "process_type", "dyno", "unsure"]


class WhatBody(BaseModel):
    """The code or metric of a finding: one of both, or neither. A share lies between 0 and 1."""

    code: str | None
    metric: str | None
    value: float | None = Field(description="In the unit of the metric; a share of requests")
    window_s: int | None = Field(description="The length of the time up to now that it is of")
    usual: float | None = Field(description="The value on other days; null if not known")
    limit: float | None
    worst: float | None = Field(description="The value furthest from usual so far")
    count: int = Field(description="Failed requests, crashes or lines with the code so far")
    exit_status: int | None = Field(description="With which processes end, for crashes")
    full_at: int | None = Field(description="When memory will be full, if it goes on rising")
    up_since: int | None = Field(description="Since when all crashed dynos are up again")
    reason: str = Field(json_schema_extra={"enum": ["", *REASONS]})


class ActionBody(BaseModel):
    """An event of the same action: the config change that made a release."""

    kind: str
    detail: str


class ChangeBody(BaseModel):
    """An event before a finding began. It need not be the cause."""

    time: int = Field(description="Unix seconds")
    kind: str = Field(description="As in /events")
    detail: str
    actions: list[ActionBody] = Field(description="Other events of the same action")


class FindingBody(BaseModel):
    """A problem of an app, or a note about it. Times in Unix seconds."""

    model_config = ConfigDict(populate_by_name=True)

    kind: str = Field(json_schema_extra={"enum": list(FINDINGS)})
    state: State = Field(description="What it makes of the app; ok for a note")
    since: int | None
    since_earliest: int | None = Field(description="It began at this time or later")
    since_latest: int | None = Field(description="It had begun by this time")
    until: int | None = Field(description="null while it lasts")
    who: WhoBody
    what: WhatBody
    after: ChangeBody | None = Field(description="The change before it; null if there was none")
    not_reasons: list[str] = Field(alias="not", description="Figures that did not change")
    certainty: Literal["certain", "likely"] = Field(description="likely: the data is thin")
    occurrences: int = Field(description="Its runs, with breaks of under 10 minutes")
    resolution_s: int = Field(description="The length of the intervals that it was judged by")
    summary: str


class VerdictBody(BaseModel):
    """Whether an app is all right. If not: since when, which part of it, and the change before."""

    app: str
    state: State
    since: int | None = Field(description="Unix seconds; null if it is not known")
    until: int | None = Field(description="null while the state lasts")
    summary: str
    who: WhoBody | None = Field(description="Of the worst finding; null without findings")
    cause: ChangeBody | None = Field(description="`after` of the worst finding")
    findings: list[FindingBody] = Field(description="The worst first")
    complete: bool = Field(description="Whether all lines of the range are known")
    judged_until: int | None = Field(description="The end of the last minute judged")


class FleetBody(FindingBody):
    """A problem that many apps have at the same time, and these apps."""

    apps: list[str]


class VerdictsBody(BaseModel):
    """A verdict for each app, the worst first."""

    fleet: FleetBody | None = Field(description="A problem that many apps have; null if none")
    verdicts: list[VerdictBody]


class EpisodesBody(BaseModel):
    """Findings of a range, the latest first. Times in Unix seconds; `end` is not included."""

    app: str
    start: int
    end: int
    episodes: list[FindingBody]


class VerdictsApi:
    """The routes. `store` is restricted to the apps that the current request may see."""

    def __init__(
        self,
        store: Reader,
        verdicts: VerdictReader,
        resolutions: Sequence[Resolution],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._verdicts = verdicts
        self._resolutions = resolutions
        self._clock = clock
        self.router = APIRouter(prefix="/api/v1")
        routes: tuple[tuple[str, Any, type[BaseModel]], ...] = (
            ("/verdicts", self.verdicts, VerdictsBody),
            ("/apps/{app}/verdict", self.verdict, VerdictBody),
            ("/apps/{app}/episodes", self.episodes, EpisodesBody),
        )
        for path, endpoint, model in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                response_model=model,
                summary=endpoint.__doc__,
            )

    async def verdicts(self) -> dict[str, Any]:
        """Whether each app is all right, the worst first"""
        apps = await self._store.seen_apps()
        verdicts = worst_first((await self._verdicts.current(apps, self._clock())).values())
        return verdicts_fields(verdicts, find_fleet(verdicts))

    async def verdict(
        self, app: str, parameters: Annotated[RangeParameters, Query()]
    ) -> dict[str, Any]:
        """Whether an app is all right, now or in a past range"""
        seen_app = await require_app(self._store, app)
        now_s = self._clock()
        if parameters.start is None and parameters.end is None:
            verdicts = await self._verdicts.current([seen_app], now_s)
            return verdict_fields(verdicts[app])
        time_range = self._plan(parameters, now_s)
        return verdict_fields(
            await self._verdicts.over(seen_app, time_range.start_s, time_range.end_s, now_s)
        )

    async def episodes(
        self, app: str, parameters: Annotated[RangeParameters, Query()]
    ) -> dict[str, Any]:
        """Problems of an app in a range, with begin and end"""
        await require_app(self._store, app)
        time_range = self._plan(parameters, self._clock())
        episodes = await self._verdicts.episodes(app, time_range.start_s, time_range.end_s)
        return {
            "app": app,
            "start": time_range.start_s,
            "end": time_range.end_s,
            "episodes": [episode_fields(episode) for episode in latest_first(episodes)],
        }

    def _plan(self, parameters: RangeParameters, now_s: float) -> TimeRange:
        try:
            time_range, _ = plan_range(
                parameters.start, parameters.end, "range", self._resolutions, now_s
            )
        except QueryError as error:
            raise query_problem(error) from error
        return TimeRange(time_range.start, time_range.end)
