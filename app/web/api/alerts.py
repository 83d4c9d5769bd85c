"""/api/v1/alerts: active alerts, rules, channels, mutes, history.

A read token sees the alerts of its own apps. app.web.authentication requires the admin token for
channels and for every change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from app.access.drain_registry import APP_NAME
from app.alerting import status
from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.channels.channel import Channel, ChannelError
from app.alerting.channels.kinds import masked_address
from app.alerting.rule import NAME, SERVICE, RuleError
from app.storage.interface.store import Reader
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
    history_entry_body,
    mute_info,
    rule_body,
)
from app.web.api.problems import Problem

HISTORY_MAX = 1_000
T = TypeVar("T")

NamePath = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
AppPath = Annotated[str, Path(pattern=f"^(?:{APP_NAME.pattern}|{SERVICE})$")]


class AlertsApi:
    """The routes. `reader` is restricted to the apps that the current request may see."""

    def __init__(self, reader: Reader, admin: AlertAdmin, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._admin = admin
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
        for method, path, endpoint, model, status_code in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=model,
                status_code=status_code,
                summary=endpoint.__doc__,
            )

    async def alerts(self) -> AlertsBody:
        """Active alerts, mutes, and the time until which minutes are evaluated"""
        return alerts_body(await status.read_overview(self._reader), self._clock())

    async def rules(self) -> Any:
        """The rules in effect"""
        config = (await status.read_overview(self._reader)).config
        return JSONResponse(
            {
                "rules": [
                    rule_body(rule, is_own=rule.name in config.custom_names)
                    for rule in config.rules.values()
                ]
            }
        )

    async def put_rule(self, name: NamePath, body: NewRule) -> Any:
        """Create a rule, or change some fields of one; takes effect within 5 seconds"""
        rule = await _or_problem(self._admin.put_rule(name, body.model_dump(exclude_none=True)))
        return JSONResponse(rule_body(rule, is_own=True))

    async def remove_rule(self, name: NamePath) -> None:
        """Remove a rule of your own; restores a built-in rule to its defaults"""
        await _or_problem(self._admin.remove_rule(name))

    async def channels(self) -> ChannelsBody:
        """Notification channels, and the state of their deliveries"""
        states = (await status.read_overview(self._reader)).channels
        return ChannelsBody(channels=[channel_body(state) for state in states])

    async def add_channel(self, body: NewChannel) -> CreatedChannel:
        """Add a notification channel"""
        channel = await _or_problem(self._admin.add_channel(_channel(body, int(self._clock()))))
        return CreatedChannel(
            name=channel.name, kind=channel.kind, where=masked_address(channel), key=channel.key
        )

    async def remove_channel(self, name: NamePath) -> None:
        """Remove a notification channel"""
        await _or_problem(self._admin.remove_channel(name))

    async def test_channel(self, name: NamePath) -> None:
        """Send a test notification; the list of channels shows the result"""
        await _or_problem(self._admin.test(name))

    async def mute(self, app: AppPath, body: NewMute) -> MuteInfo:
        """Mute an app, or acknowledge its alerts: send no new notifications about it for a while"""
        if body.until_resolved:
            return mute_info(app, await _or_problem(self._admin.acknowledge(app, body.by)))
        return mute_info(app, await _or_problem(self._admin.mute(app, body.for_s or 0, body.by)))

    async def unmute(self, app: AppPath) -> None:
        """End the mute of an app, or withdraw the acknowledgement of its alerts"""
        await _or_problem(self._admin.unmute(app))

    async def history(
        self,
        app: Annotated[list[str] | None, Query(description="App names; repeatable")] = None,
        limit: Annotated[int, Query(ge=1, le=HISTORY_MAX)] = 100,
    ) -> HistoryBody:
        """Alerts that fired or resolved, mutes, and failed deliveries, newest first"""
        entries = await status.read_history(self._reader, app or [], limit)
        return HistoryBody(history=[history_entry_body(*entry) for entry in entries])


def _channel(body: NewChannel, now_s: int) -> Channel:
    return Channel(
        name=body.name,
        kind=body.kind,
        url=body.url,
        added_s=now_s,
        to=tuple(body.to),
        sender=body.sender,
        apps=tuple(body.apps),
        least=body.least,
        options=body.options,
    )


async def _or_problem(operation: Awaitable[T]) -> T:
    """The operation's result; its errors become problems."""
    try:
        return await operation
    except (RuleError, ChannelError) as error:
        raise Problem(400, "Bad request", str(error)) from error
    except AlertAdminError as error:
        raise Problem(409, "Conflict with the current state", str(error)) from error
