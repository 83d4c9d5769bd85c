"""Delivers what waits in the outbox: what was decided is sent until it is taken, or a day has
passed. An entry goes only after its channel took the message, so a message may come twice if this
process ends in between; it then has the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from app.alerting.channels.channel import (
    Channel,
    ChannelHealth,
    pack_health,
    unpack_health,
)
from app.alerting.channels.delivery import ChannelDeliveryError, ChannelSender
from app.alerting.config import readable
from app.alerting.lease import Lease
from app.alerting.notification import Notification
from app.alerting.rule import SERVICE
from app.alerting.state import HistoryEntry, pack_json
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import Store

log = logging.getLogger(__name__)

FIRST_RETRY_S = 5
RETRY_S_MAX = 600
GIVE_UP_S = 24 * 3600


class Outgoing(msgspec.Struct, frozen=True):
    """A message for one channel."""

    channel: str
    message: Notification
    queued_s: int


_unpack = msgspec.json.Decoder(Outgoing).decode


def put(message: Notification, channels: Sequence[Channel], now_s: int) -> list[AlertChange]:
    """What puts a message into the outbox; the same message again is the same entry."""
    return [
        AlertChange(
            AlertTable.OUTBOX,
            f"{message.id}:{channel.name}",
            msgspec.json.encode(Outgoing(channel.name, message, now_s)),
        )
        for channel in channels
    ]


class Outbox:
    """Works for whoever holds the lease."""

    def __init__(
        self, store: Store, lease: Lease, sender: ChannelSender, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._lease = lease
        self._sender = sender
        self._clock = clock
        self._taken: set[str] = set()  # by their channels, but the store does not know it yet

    async def deliver(self, channels: Mapping[str, Channel]) -> None:
        """Send what is due, each channel by itself, so that none waits for another.

        Raises:
            StoreUnavailable: the store is away.
        """
        waiting, healths = await self._store.alert_tables(AlertTable.OUTBOX, AlertTable.HEALTH)
        self._taken &= set(waiting)
        by_channel: dict[str, list[tuple[str, Outgoing]]] = {}
        for field, outgoing in readable(waiting, _unpack, "message").items():
            by_channel.setdefault(outgoing.channel, []).append((field, outgoing))
        jobs = [
            self._deliver(channels.get(name), unpack_health(healths.get(name)), entries)
            for name, entries in by_channel.items()
        ]
        for outcome in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _deliver(
        self, channel: Channel | None, health: ChannelHealth, entries: list[tuple[str, Outgoing]]
    ) -> None:
        entries.sort(key=lambda entry: (entry[1].queued_s, entry[0]))
        for field, outgoing in entries:
            if channel is None:  # it was removed
                await self._forget(field, None)
            elif field in self._taken:
                await self._forget(field, health)
            elif self._clock() - outgoing.queued_s >= GIVE_UP_S:
                await self._give_up(field, outgoing, health)
            elif self._clock() < health.next_s or not await self._lease.hold():
                return
            else:
                health = await self._send(channel, field, outgoing, health)

    async def _send(
        self, channel: Channel, field: str, outgoing: Outgoing, health: ChannelHealth
    ) -> ChannelHealth:
        now_s = int(self._clock())
        try:
            await self._sender.send(channel, outgoing.message)
        except ChannelDeliveryError as error:
            health = failed(health, now_s, error)
            log.warning("alerts: channel %s: %s", channel.name, error)
            record = AlertChange(AlertTable.HEALTH, channel.name, pack_health(health))
            await self._store.change_alerts([record], lease=self._lease.token)
            return health
        self._taken.add(field)
        health = ChannelHealth(last_ok_s=now_s)
        await self._forget(field, health)
        return health

    async def _forget(self, field: str, health: ChannelHealth | None) -> None:
        changes = [AlertChange(AlertTable.OUTBOX, field, b"")]
        if health is not None:
            name = field.partition(":")[2]
            changes.append(AlertChange(AlertTable.HEALTH, name, pack_health(health)))
        if await self._store.change_alerts(changes, lease=self._lease.token):
            self._taken.discard(field)

    async def _give_up(self, field: str, outgoing: Outgoing, health: ChannelHealth) -> None:
        text = (
            f"{outgoing.channel} did not take it for a day ({health.error}): "
            f"{outgoing.message.title}"
        )
        log.error("alerts: given up: %s", text)
        told = HistoryEntry(int(self._clock()), "undelivered", text, id=outgoing.message.id)
        await self._store.change_alerts(
            [AlertChange(AlertTable.OUTBOX, field, b"")],
            history={outgoing.message.app or SERVICE: [pack_json(told)]},
            lease=self._lease.token,
        )


def failed(health: ChannelHealth, now_s: int, error: ChannelDeliveryError) -> ChannelHealth:
    """After one more attempt that failed: the next waits twice as long, 10 minutes at most, or as
    long as the channel asks for.
    """
    wait_s = min(FIRST_RETRY_S << min(health.attempts, 20), RETRY_S_MAX)
    return ChannelHealth(
        last_ok_s=health.last_ok_s,
        failing_since_s=health.failing_since_s or now_s,
        attempts=health.attempts + 1,
        next_s=now_s + max(wait_s, error.after_s),
        error=str(error),
    )
