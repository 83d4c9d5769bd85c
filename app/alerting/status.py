"""What is set up, what fires and what was told, as far as the present reader may see it; without
what opens a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.alerting.alert_worker import PULSE
from app.alerting.channels.channel import Channel, ChannelHealth, unpack_health
from app.alerting.config import AlertConfig, read_config, readable
from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert, HistoryEntry, unpack_app, unpack_told
from app.storage.alert_interface import AlertTable
from app.storage.interface import Reader


class Firing(NamedTuple):
    """An alert of an app that fires, or is about to."""

    app: str
    alert: Alert
    rule: Rule | None


class ChannelState(NamedTuple):
    """A channel, how deliveries go, and how many messages wait for it."""

    channel: Channel
    health: ChannelHealth
    waiting: int


class AlertsOverview(NamedTuple):
    """All there is. `evaluated_s`: up to when; 0 when nobody evaluates. `waiting`: why not
    further; "" when nothing is in the way.
    """

    config: AlertConfig
    firing: list[Firing]
    channels: list[ChannelState]
    evaluated_s: int
    waiting: str


async def overview(store: Reader) -> AlertsOverview:
    """
    Raises:
        StoreUnavailable: the store is away.
    """
    config = await read_config(store)
    states, healths, outbox = await store.alert_tables(
        AlertTable.STATES, AlertTable.HEALTH, AlertTable.OUTBOX
    )
    firing = [
        Firing(app, alert, config.rules.get(alert.rule))
        for app, state in sorted(readable(states, unpack_app, "state of").items())
        for alert in state.alerts
        if alert.phase != "over"
    ]
    waiting = [field.partition(":")[2] for field in outbox]
    pulse = (await store.heartbeats()).get(PULSE, {})
    return AlertsOverview(
        config,
        firing,
        [
            ChannelState(each, unpack_health(healths.get(name)), waiting.count(name))
            for name, each in sorted(config.channels.items())
        ],
        int(pulse.get("evaluated_s", "0")),
        pulse.get("waiting", ""),
    )


async def history(store: Reader, apps: Sequence[str], count: int) -> list[tuple[str, HistoryEntry]]:
    """What was told of these apps, or of all if none is named; the newest first.

    Raises:
        StoreUnavailable: the store is away.
    """
    names = apps or [SERVICE, *(seen.app for seen in await store.seen_apps())]
    found = await store.alert_history(names, count)
    entries = [(app, unpack_told(each)) for app, told in found.items() for each in told]
    return sorted(entries, key=lambda entry: -entry[1].at_s)[:count]
