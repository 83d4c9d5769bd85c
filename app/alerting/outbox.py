"""Delivers the notifications in the outbox, retrying for a day.

An entry is removed only after its channel accepted the notification. If the process ends in
between, the notification is delivered again, with the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from app.alerting.channels.channel import (
    Channel,
    ChannelHealth,
    pack_health,
    unpack_health,
)
from app.alerting.channels.delivery import ChannelSender
from app.alerting.channels.kind import ChannelDeliveryError
from app.alerting.config import unpack_channels, unpack_readable
from app.alerting.lease import Lease
from app.alerting.notification import Notification
from app.alerting.rule import SERVICE
from app.alerting.state import HistoryEntry, pack_json
from app.storage.interface.alerts import AlertChange, AlertStore, AlertTable
from app.support.aio import wait_for_all

log = logging.getLogger(__name__)

FIRST_RETRY_S = 5
RETRY_S_MAX = 600
GIVE_UP_S = 24 * 3600


class Outgoing(msgspec.Struct, frozen=True):
    """A notification for one channel."""

    channel: str
    message: Notification
    queued_s: int


_unpack = msgspec.json.Decoder(Outgoing).decode


def enqueue(message: Notification, channels: Sequence[Channel], now_s: int) -> list[AlertChange]:
    """The changes that put a notification into the outbox. Repeating them adds no second entry."""
    return [
        AlertChange(
            AlertTable.OUTBOX,
            f"{message.id}:{channel.name}",
            msgspec.json.encode(Outgoing(channel.name, message, now_s)),
        )
        for channel in channels
    ]


class Outbox:
    """Delivers notifications while this worker holds the lease."""

    def __init__(
        self,
        store: AlertStore,
        lease: Lease,
        sender: ChannelSender,
        clock: Callable[[], float],
        url: str,
    ) -> None:
        """`url`: the address of the pages. A test links to it, for its sender may not know it."""
        self._store = store
        self._url = url
        self._lease = lease
        self._sender = sender
        self._clock = clock
        # Entries that could not be removed from the store yet.
        self._accepted_fields: set[str] = set()
        self.is_waiting = False  # whether `deliver` found messages

    async def deliver(self) -> None:
        """Send the notifications that are due, to all channels concurrently.

        The channels are read at the same instant as the notifications. So a channel that is
        missing was removed; it is never one that was added a moment ago.

        Raises:
            StoreUnavailable
        """
        records, healths, channel_records = await self._store.alert_tables(
            AlertTable.OUTBOX, AlertTable.HEALTH, AlertTable.CHANNELS
        )
        self.is_waiting = bool(records)
        channels = unpack_channels(channel_records) if records else {}
        self._accepted_fields &= set(records)
        by_channel: dict[str, list[tuple[str, Outgoing]]] = {}
        for field, outgoing in unpack_readable(records, _unpack, "message").items():
            by_channel.setdefault(outgoing.channel, []).append((field, outgoing))
        await wait_for_all(
            self._deliver(channels.get(name), unpack_health(healths.get(name)), entries)
            for name, entries in by_channel.items()
        )

    async def _deliver(
        self, channel: Channel | None, health: ChannelHealth, entries: list[tuple[str, Outgoing]]
    ) -> None:
        entries.sort(key=lambda entry: (entry[1].queued_s, entry[0]))
        for field, outgoing in entries:
            if channel is None:  # the channel was removed
                await self._remove(field, None)
            elif field in self._accepted_fields:
                await self._remove(field, health)
            elif self._clock() - outgoing.queued_s >= GIVE_UP_S:
                await self._give_up(field, outgoing, health)
            elif health.is_waiting(self._clock()) or not await self._lease.hold():
                return
            else:
                health = await self._send(channel, field, outgoing, health)

    async def _send(
        self, channel: Channel, field: str, outgoing: Outgoing, health: ChannelHealth
    ) -> ChannelHealth:
        now_s = int(self._clock())
        message = outgoing.message
        if message.status == "test":
            message = msgspec.structs.replace(message, link=f"{self._url}/")
        try:
            await self._sender.send(channel, message)
        except ChannelDeliveryError as error:
            health = record_failure(health, now_s, error)
            log.warning("alerts: channel %s: %s", channel.name, error)
            record = AlertChange(AlertTable.HEALTH, channel.name, pack_health(health))
            await self._store.change_alerts([record], lease=self._lease.token)
            return health
        self._accepted_fields.add(field)
        health = ChannelHealth(last_ok_s=now_s)
        await self._remove(field, health)
        return health

    async def _remove(self, field: str, health: ChannelHealth | None) -> None:
        changes = [AlertChange(AlertTable.OUTBOX, field, b"")]
        if health is not None:
            name = field.partition(":")[2]
            changes.append(AlertChange(AlertTable.HEALTH, name, pack_health(health)))
        if await self._store.change_alerts(changes, lease=self._lease.token):
            self._accepted_fields.discard(field)

    async def _give_up(self, field: str, outgoing: Outgoing, health: ChannelHealth) -> None:
        text = (
            f"{outgoing.channel} did not accept this message for a day ({health.error}): "
            f"{outgoing.message.title}"
        )
        log.error("alerts: giving up: %s", text)
        entry = HistoryEntry(int(self._clock()), "undelivered", text, id=outgoing.message.id)
        await self._store.change_alerts(
            [AlertChange(AlertTable.OUTBOX, field, b"")],
            history={outgoing.message.app or SERVICE: [pack_json(entry)]},
            lease=self._lease.token,
        )


def record_failure(health: ChannelHealth, now_s: int, error: ChannelDeliveryError) -> ChannelHealth:
    """The health after a failed attempt. The delay of the next attempt doubles up to 10 minutes,
    but is at least as long as the channel asked for.
    """
    wait_s = min(FIRST_RETRY_S << min(health.attempts, 20), RETRY_S_MAX)
    return ChannelHealth(
        last_ok_s=health.last_ok_s,
        failing_since_s=health.failing_since_s or now_s,
        attempts=health.attempts + 1,
        next_s=now_s + max(wait_s, error.retry_after_s),
        error=str(error),
    )
