"""Notifies channels of an outage of the store, which holds all other state of alerting.

During an outage machines cannot coordinate, so each one reports it. On each machine, the worker
that locks a file in the data directory does so. The file lists the notified channels, so a worker
that starts during the outage repeats nothing. The channels are those that this process read before
the outage.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from app.alerting.channels.channel import Channel, ChannelHealth
from app.alerting.channels.delivery import ChannelSender
from app.alerting.channels.kind import ChannelDeliveryError
from app.alerting.config import AlertConfig
from app.alerting.notification import Context, Notification, compose
from app.alerting.outbox import record_failure
from app.alerting.rule import SERVICE, Rule
from app.alerting.self_monitoring import OUTAGE, outage_alert
from app.rollup.resolutions import MINUTE_S
from app.storage.interface.status import StatusStore

log = logging.getLogger(__name__)

FILE = "alerts-away.json"
_HEARTBEAT_TTL_MS = 600_000  # long enough for the evaluating worker to see it


class _OutageRecord(msgspec.Struct):
    """The file: the start of the outage (Unix seconds, 0 for none) and the notified channels."""

    since_s: int = 0
    channels: list[str] = []


class StoreOutageNotifier:
    """Reports outages of the store, if this process is the one of its machine to do so."""

    def __init__(self, path: Path, sender: ChannelSender, *, name: str, url: str) -> None:
        """
        Args:
            path: the file. If its directory does not exist, the outage is only logged.
            sender: delivers the notifications.
            name: of this machine.
            url: the address of the pages.
        """
        self._path = path
        self._sender = sender
        self._name = name
        self._url = url
        self._since_s = 0
        self._file: IO[bytes] | None = None
        self._healths: dict[str, ChannelHealth] = {}

    async def report_outage(self, now_s: float, config: AlertConfig) -> None:
        """Record that the store is unavailable. Notify each channel once, as soon as the outage has
        lasted as long as the rule requires.
        """
        self._since_s = self._since_s or int(now_s)
        rule = next((rule for rule in config.rules.values() if rule.kind == "buffering"), None)
        if rule is None or not rule.enabled or config.is_muted(SERVICE, now_s):
            return
        if now_s - self._since_s < rule.limit * MINUTE_S or not config.channels:
            return
        if not self._lock():
            return
        record = self._read()
        record.since_s = record.since_s or self._since_s
        message = _message(rule, record.since_s, int(now_s), self._url, self._name)
        for channel in config.channels.values():
            if channel.name in record.channels or not channel.accepts(SERVICE, message.severity):
                continue
            if await self._send(channel, message, int(now_s)):
                record.channels.append(channel.name)
                self._write(record)

    async def _send(self, channel: Channel, message: Notification, now_s: int) -> bool:
        health = self._healths.get(channel.name, ChannelHealth())
        if health.is_waiting(now_s):
            return False
        try:
            await self._sender.send(channel, message)
        except ChannelDeliveryError as error:
            log.warning("alerts: channel %s: %s", channel.name, error)
            self._healths[channel.name] = record_failure(health, now_s, error)
            return False
        return True

    async def report_recovery(self, store: StatusStore) -> None:
        """Record that the store is available. If channels were notified, publish that, so that the
        evaluating worker sends the resolution.

        Raises:
            StoreUnavailable: the store is down again.
        """
        self._since_s = 0
        self._healths.clear()
        if not self._path.exists() or not self._path.stat().st_size or not self._lock():
            return
        record = self._read()
        if record.channels:
            fields = {"since_s": str(record.since_s)}
            await store.write_status(f"{OUTAGE}{self._name}", fields, ttl_ms=_HEARTBEAT_TTL_MS)
        self._write(None)
        self.close()

    def _lock(self) -> bool:
        """Whether this process holds the lock of this machine."""
        if self._file is not None:
            return True
        try:
            file = self._path.open("a+b")
        except OSError as error:
            log.error(
                "alerts: cannot write to %s (%s), so no notification of the outage is sent",
                self._path,
                error.strerror,
            )
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def close(self) -> None:
        """Release the lock, so that another process of this machine can report."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> _OutageRecord:
        assert self._file is not None  # noqa: S101  opened by _lock
        self._file.seek(0)
        data = self._file.read()
        try:
            return msgspec.json.decode(data, type=_OutageRecord) if data else _OutageRecord()
        except msgspec.MsgspecError:  # the process was killed while it wrote
            log.warning("alerts: %s cannot be read, notifications may be repeated", self._path)
            return _OutageRecord()

    def _write(self, record: _OutageRecord | None) -> None:
        assert self._file is not None  # noqa: S101
        self._file.truncate(0)
        if record is not None:
            self._file.write(msgspec.json.encode(record))
        self._file.flush()


def _message(rule: Rule, since_s: int, now_s: int, url: str, name: str) -> Notification:
    alert = outage_alert(rule, since_s, now_s)
    rules: Mapping[str, Rule] = {rule.name: rule}
    notes = (f"Reported by {name}. No other alerts can be sent until Redis is available again.",)
    context = Context(now_s, url, notes=notes)
    return compose(SERVICE, [alert], [], [], rules, context)
