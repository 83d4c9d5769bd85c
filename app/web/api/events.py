"""/api/v1/apps/{app}/events: deploys, restarts, notes and other events of an app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from app.ingest.aggregator import NO_ACTIVITY, AcceptanceWindow, AggregatedBody
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import BatchCommitter, commit
from app.ingest.received_batch import batch_id
from app.query import history
from app.query.planner import QueryError, plan_range
from app.query.time_syntax import ACCEPTED_TIMES, parse_time
from app.rollup.accelerated import FastRollup
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import Rollup
from app.storage.interface.elements import random_bytes
from app.storage.interface.store import Reader
from app.web.api.problems import Problem, bad_parameter, query_problem
from app.web.api.queries import RangeParameters, require_app
from parsers.samples import EVENTS, Event, labels_of

EVENTS_MAX = 5_000  # in one answer
_KEY_BYTES_MAX = 256
_MS = 1000


class EventsParameters(RangeParameters):
    """The time range and the kinds of events."""

    kind: list[str] = Field(
        default_factory=list,
        description="Filter; repeatable",
        json_schema_extra={"items": {"type": "string", "enum": list(EVENTS)}},
    )


class EventBody(BaseModel):
    """An event of an app or of one of its dynos."""

    time: float = Field(description="Unix seconds")
    kind: str
    process_type: str = Field(description="Empty for an event of the whole app")
    dyno: str
    detail: str = Field(
        description="Depends on kind: a version, a commit, names, a status, or the text of a note"
    )
    count: int


class EventsBody(BaseModel):
    """Events in order of time. Times in Unix seconds; `end` is not included."""

    app: str
    start: int
    end: int
    events: list[EventBody]
    more: int = Field(description="Number of events that are counted but not listed")


class NewEvent(BaseModel):
    """A note, or a deploy that Heroku does not know about."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["note", "deploy"] = "note"
    detail: str = Field(min_length=1, max_length=200, description="One line of text")
    time: str | None = Field(None, description=f"{ACCEPTED_TIMES}. Default: now")


class EventsApi:
    """The routes. A new event goes through `committer`, as log lines do."""

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
        """Events of an app and its dynos"""
        await require_app(self._store, app)
        if unknown := [kind for kind in parameters.kind if kind not in EVENTS]:
            raise bad_parameter("kind", unknown[0], ", ".join(EVENTS))
        try:
            time_range, _ = plan_range(
                parameters.start, parameters.end, "range", self._resolutions, self._clock()
            )
        except QueryError as error:
            raise query_problem(error) from error
        counts = await history.read_events(self._store, app, time_range)
        more = counts.pop(MORE_EVENTS, 0)
        events = [
            _body(key, count)
            for key, count in sorted(counts.items())
            if not parameters.kind or key.kind in parameters.kind
        ]
        latest = events[-EVENTS_MAX:]
        more += sum(event.count for event in events[: len(events) - len(latest)])
        return EventsBody(
            app=app, start=time_range.start, end=time_range.end, events=latest, more=more
        )

    async def add(
        self,
        app: str,
        body: NewEvent,
        idempotency_key: Annotated[
            str,
            Header(
                description="A second call with the same key adds nothing",
                max_length=_KEY_BYTES_MAX,
            ),
        ] = "",
    ) -> EventBody:
        """Add a note, or a deploy that Heroku does not know about"""
        await require_app(self._store, app)
        now_s = self._clock()
        at_s = self._time(body.time, now_s)
        if not body.detail.isprintable():
            raise Problem(
                400,
                "Bad parameter",
                "detail contains a line break or another unprintable character. "
                "Send one line of text.",
                parameter="detail",
            )
        key = EventKey(int(at_s * _MS), body.kind, "", body.detail)
        rollup = Rollup()
        rollup.observe(Event(*key[1:]), key.at_ms)
        minute = align(int(at_s), MINUTE_S)
        fast_rollup = FastRollup()
        fast_rollup.add(rollup)
        aggregated_body = AggregatedBody(
            int(now_s), {minute: fast_rollup}, {minute: {}}, {}, NO_ACTIVITY
        )
        post = DrainPost(
            DrainKey(app, "", 1, self._acceptance),
            batch_id(idempotency_key.encode()),
            random_bytes(),
            aggregated_body,
        )
        await commit(self._committer, post)
        return _body(key, 1)

    def _time(self, text: str | None, now_s: float) -> float:
        try:
            at_s = parse_time(text or "now", now_s)
        except ValueError:
            raise bad_parameter("time", text, ACCEPTED_TIMES) from None
        if not now_s - self._acceptance.past_s <= at_s <= now_s + self._acceptance.future_s:
            raise bad_parameter(
                "time", text, f"times within the last {self._acceptance.past_s // 3600} hours"
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
