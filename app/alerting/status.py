"""The status of alerts: configuration, firing alerts and history.

It covers the apps that the given store shows, which for a reader with a restricted token are not
all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.alerting.alert_worker import HEARTBEAT
from app.alerting.channels.channel import Channel, ChannelHealth, unpack_health
from app.alerting.channels.kinds import masked_address
from app.alerting.config import AlertConfig, read_config, unpack_readable
from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert, HistoryEntry, unpack_app_alerts, unpack_history_entry
from app.storage.interface.alerts import AlertReader, AlertTable
from app.storage.interface.apps import AppReader
from app.storage.interface.status import StatusReader


class Firing(NamedTuple):
    """A firing or pending alert of an app."""

    app: str
    alert: Alert
    rule: Rule | None


class ChannelState(NamedTuple):
    """A channel, its health, and the number of notifications queued for it."""

    channel: Channel
    health: ChannelHealth
    queue_length: int

    @property
    def masked_address(self) -> str:
        """The channel's address without its secret parts."""
        return masked_address(self.channel)


class AlertsOverview(NamedTuple):
    """The whole status.

    evaluated_s     the end of the last evaluated minute, 0 if no worker evaluates
    delay_reason    why evaluation is behind, "" if it is not
    unknown_reason  why rules that compare with an earlier time are unknown, "" if they are not
    """

    config: AlertConfig
    firing: list[Firing]
    channels: list[ChannelState]
    evaluated_s: int
    delay_reason: str
    unknown_reason: str


class AlertStatusReader(AlertReader, AppReader, StatusReader, Protocol):
    """Reads the alerts, and how the worker that evaluates them is doing."""


async def read_overview(store: AlertStatusReader) -> AlertsOverview:
    """
    Raises:
        StoreUnavailable
    """
    config = await read_config(store)
    states, healths, outbox = await store.alert_tables(
        AlertTable.STATES, AlertTable.HEALTH, AlertTable.OUTBOX
    )
    firing = [
        Firing(app, alert, config.rules.get(alert.rule))
        for app, state in sorted(unpack_readable(states, unpack_app_alerts, "state of").items())
        for alert in state.alerts
        if alert.phase != "over"
    ]
    queued_channels = [field.partition(":")[2] for field in outbox]
    heartbeat = (await store.statuses()).get(HEARTBEAT, {})
    return AlertsOverview(
        config,
        firing,
        [
            ChannelState(channel, unpack_health(healths.get(name)), queued_channels.count(name))
            for name, channel in sorted(config.channels.items())
        ],
        int(heartbeat.get("evaluated_s", "0")),
        heartbeat.get("waiting", ""),
        heartbeat.get("unknown", ""),
    )


async def read_history(
    store: AlertStatusReader, apps: Sequence[str], count: int
) -> list[tuple[str, HistoryEntry]]:
    """The history of these apps, or of all apps and the service if none is given; newest first.

    Raises:
        StoreUnavailable
    """
    names = apps or [SERVICE, *(seen_app.app for seen_app in await store.seen_apps())]
    records = await store.alert_history(names, count)
    entries = [
        (app, unpack_history_entry(record))
        for app, app_records in records.items()
        for record in app_records
    ]
    return sorted(entries, key=lambda entry: -entry[1].at_s)[:count]
