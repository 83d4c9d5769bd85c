"""/api/v1/apps/{app}/events: what happened to an app and its dynos, to be laid over its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from app.ingest.aggregator import NO_ACTIVITY, AcceptanceWindow, AggregatedBody
from app.ingest.group_commit import BatchCommitter
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.query import history
from app.query.planner import QueryError, plan_range
from app.query.time_syntax import ACCEPTED_TIMES, parse_time
from app.rollup.accelerated import FastRollup
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import Rollup
from app.storage.interface import Reader
from app.web.api.problems import Problem, bad_parameter
from app.web.api.queries import RangeParameters, require_app
from parsers.samples import EVENTS, Event, labels_of

EVENTS_MAX = 5_000  # of one answer
_KEY_BYTES_MAX = 256
_MS = 1000


class EventsParameters(RangeParameters):
    """Which events."""

    kind: list[str] = Field(
        default_factory=list,
        description="Filter: repeats",
        json_schema_extra={"items": {"type": "string", "enum": list(EVENTS)}},
    )


class EventBody(BaseModel):
    """Something that happened."""

    time: float = Field(description="Unix seconds")
    kind: str
    process_type: str = Field(description='"" for the whole app')
    dyno: str
    detail: str = Field(description="A version, a commit, names, a status; what was written")
    count: int


class EventsBody(BaseModel):
    """Events by time. Times in Unix seconds; `end` is not included."""

    app: str
    start: int
    end: int
    events: list[EventBody]
    more: int = Field(description="Events of busy intervals that were counted, not kept")


class NewEvent(BaseModel):
    """A note, or a deploy that Heroku does not know of."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["note", "deploy"] = "note"
    detail: str = Field(min_length=1, max_length=200, description="What happened, in a line")
    time: str | None = Field(None, description=f"{ACCEPTED_TIMES}. Default: now")


class EventsApi:
    """The routes, over a store, and the way into it for what is written."""

    def __init__(
        self,
        store: Reader,
        committer: BatchCommitter,
        resolutions: Sequence[Resolution],
        acceptance: AcceptanceWindow,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._committer = committer
        self._resolutions = resolutions
        self._acceptance = acceptance
        self._clock = clock
        self.router = APIRouter(prefix="/api/v1")
        path = "/apps/{app}/events"
        self.router.add_api_route(path, self.events, methods=["GET"], summary=self.events.__doc__)
        self.router.add_api_route(
            path, self.add, methods=["POST"], status_code=201, summary=self.add.__doc__
        )

    async def events(
        self, app: str, parameters: Annotated[EventsParameters, Query()]
    ) -> EventsBody:
        """What happened to an app and its dynos"""
        await require_app(self._store, app)
        if unknown := [kind for kind in parameters.kind if kind not in EVENTS]:
            raise bad_parameter("kind", unknown[0], ", ".join(EVENTS))
        try:
            span, _ = plan_range(
                parameters.start, parameters.end, "range", self._resolutions, self._clock()
            )
        except QueryError as error:
            raise bad_parameter(error.parameter, error.given, error.accepted) from error
        found = await history.events(self._store, app, span)
        more = found.pop(MORE_EVENTS, 0)
        events = [
            _body(key, count)
            for key, count in sorted(found.items())
            if not parameters.kind or key.kind in parameters.kind
        ]
        kept = events[-EVENTS_MAX:]  # of too many the latest
        more += sum(event.count for event in events[: len(events) - len(kept)])
        return EventsBody(app=app, start=span.start, end=span.end, events=kept, more=more)

    async def add(
        self,
        app: str,
        body: NewEvent,
        idempotency_key: Annotated[
            str, Header(description="The same again adds nothing", max_length=_KEY_BYTES_MAX)
        ] = "",
    ) -> EventBody:
        """Note something that happened, or a deploy that Heroku does not know of"""
        await require_app(self._store, app)
        now_s = self._clock()
        at_s = self._time(body.time, now_s)
        if not body.detail.isprintable():
            raise Problem(400, "Bad parameter", "detail: one line of text", parameter="detail")
        key = EventKey(int(at_s * _MS), body.kind, "", body.detail)
        rollup = Rollup()
        rollup.observe(Event(*key[1:]), key.at_ms)
        minute = align(int(at_s), MINUTE_S)
        sums = FastRollup()
        sums.add(rollup)
        parts = AggregatedBody(int(now_s), {minute: sums}, {minute: {}}, {}, NO_ACTIVITY)
        await self._committer.commit(ReceivedBatch(app, batch_id(idempotency_key.encode()), parts))
        return _body(key, 1)

    def _time(self, text: str | None, now_s: float) -> float:
        try:
            at_s = parse_time(text or "now", now_s)
        except ValueError:
            raise bad_parameter("time", text, ACCEPTED_TIMES) from None
        if not now_s - self._acceptance.past_s <= at_s <= now_s + self._acceptance.future_s:
            raise bad_parameter(
                "time", text, f"times from {self._acceptance.past_s // 3600} hours ago until now"
            )
        return at_s


def _body(key: EventKey, count: int) -> EventBody:
    process_type, dyno = labels_of(key.source)
    return EventBody(
        time=key.at_ms / _MS,
        kind=key.kind,
        process_type=process_type,
        dyno=dyno,
        detail=key.detail,
        count=count,
    )
