"""/api/v1/alerts: what fires, rules, channels, mutes, history. Who may only read sees what is about
the apps of the token; the gate sees to it that nobody else changes anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from app.access.drain_registry import APP_NAME
from app.alerting import status as look
from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.channels.channel import Channel, ChannelError
from app.alerting.rule import NAME, SERVICE, RuleError
from app.storage.interface import Reader, Store
from app.web.api.alert_models import (
    AlertsBody,
    ChannelsBody,
    CreatedChannel,
    HistoryBody,
    MuteInfo,
    NewChannel,
    NewMute,
    NewRule,
    RuleBody,
    RulesBody,
    alerts_body,
    channel_body,
    rule_body,
    told_body,
)
from app.web.api.problems import Problem

HISTORY_MAX = 1_000
T = TypeVar("T")

NamePath = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
AppPath = Annotated[str, Path(pattern=f"^(?:{APP_NAME.pattern}|{SERVICE})$")]


class AlertsApi:
    """The routes: reading as the present request may see it, writing on the store."""

    def __init__(self, shown: Reader, store: Store, clock: Callable[[], float], url: str) -> None:
        """`url`: of the pages, for links in messages."""
        self._shown = shown
        self._clock = clock
        self._desk = AlertAdmin(store, clock, url)
        self.router = APIRouter(prefix="/api/v1/alerts")
        routes: tuple[tuple[str, str, Any, Any, int], ...] = (
            ("GET", "", self.alerts, AlertsBody, 200),
            ("GET", "/rules", self.rules, RulesBody, 200),
            ("PUT", "/rules/{name}", self.put_rule, RuleBody, 200),
            ("DELETE", "/rules/{name}", self.remove_rule, None, 204),
            ("GET", "/channels", self.channels, ChannelsBody, 200),
            ("POST", "/channels", self.add_channel, CreatedChannel, 201),
            ("POST", "/channels/{name}/test", self.test_channel, None, 202),
            ("DELETE", "/channels/{name}", self.remove_channel, None, 204),
            ("PUT", "/mutes/{app}", self.mute, MuteInfo, 200),
            ("DELETE", "/mutes/{app}", self.unmute, None, 204),
            ("GET", "/history", self.history, HistoryBody, 200),
        )
        for method, path, endpoint, model, status in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=model,
                status_code=status,
                summary=endpoint.__doc__,
            )

    async def alerts(self) -> AlertsBody:
        """What fires, what is muted, and up to when it is known"""
        return alerts_body(await look.read_overview(self._shown), self._clock())

    async def rules(self) -> Any:
        """The rules that hold"""
        config = (await look.read_overview(self._shown)).config
        return JSONResponse(
            {
                "rules": [
                    rule_body(rule, own=rule.name in config.custom_names)
                    for rule in config.rules.values()
                ]
            }
        )

    async def put_rule(self, name: NamePath, body: NewRule) -> Any:
        """Make a rule, or change the fields that are given; within 5 seconds"""
        rule = await _managed(self._desk.put_rule(name, body.model_dump(exclude_none=True)))
        return JSONResponse(rule_body(rule, own=True))

    async def remove_rule(self, name: NamePath) -> None:
        """Forget a rule of your own; a built-in one holds again as it was"""
        await _managed(self._desk.remove_rule(name))

    async def channels(self) -> ChannelsBody:
        """Where messages go, and how deliveries go"""
        found = (await look.read_overview(self._shown)).channels
        return ChannelsBody(channels=[channel_body(each) for each in found])

    async def add_channel(self, body: NewChannel) -> CreatedChannel:
        """Tell a channel from now on"""
        channel = await _managed(self._desk.add_channel(_channel(body, int(self._clock()))))
        return CreatedChannel(
            name=channel.name, kind=channel.kind, where=channel.masked_address, key=channel.key
        )

    async def remove_channel(self, name: NamePath) -> None:
        """Tell a channel nothing any more"""
        await _managed(self._desk.remove_channel(name))

    async def test_channel(self, name: NamePath) -> None:
        """Have a test message sent; how it went, the list of channels says"""
        await _managed(self._desk.test(name))

    async def mute(self, app: AppPath, body: NewMute) -> MuteInfo:
        """Tell nothing new of an app for a while"""
        mute = await _managed(self._desk.mute(app, body.for_s))
        return MuteInfo(app=app, since=mute.since_s, until=mute.until_s)

    async def unmute(self, app: AppPath) -> None:
        """Tell of an app again"""
        await _managed(self._desk.unmute(app))

    async def history(
        self,
        app: Annotated[list[str] | None, Query(description="Of these; repeats")] = None,
        limit: Annotated[int, Query(ge=1, le=HISTORY_MAX)] = 100,
    ) -> HistoryBody:
        """What fired, ended, was muted or could not be delivered, the newest first"""
        found = await look.read_history(self._shown, app or [], limit)
        return HistoryBody(history=[told_body(*entry) for entry in found])


def _channel(body: NewChannel, now_s: int) -> Channel:
    sender = body.sender or (body.to[0] if body.to else "")
    return Channel(
        name=body.name,
        kind=body.kind,
        url=body.url,
        added_s=now_s,
        to=tuple(body.to),
        sender=sender if body.kind == "email" else "",
        apps=tuple(body.apps),
        least=body.least,
    )


async def _managed(doing: Awaitable[T]) -> T:
    try:
        return await doing
    except (RuleError, ChannelError) as error:
        raise Problem(400, "Bad request", str(error)) from error
    except AlertAdminError as error:
        raise Problem(409, "Not possible as things are", str(error)) from error
