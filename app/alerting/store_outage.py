"""Telling that the store is away, which is where everything else about alerts is kept.

Each machine tells by itself, since nobody can ask another one: of its workers the one that holds a
lock on a file in the data directory. The file says who was told, so a worker that starts meanwhile
repeats nothing. Channels are those that this process knew when the store went away.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from app.alerting.channels.channel import Channel, ChannelHealth
from app.alerting.channels.delivery import ChannelDeliveryError, ChannelSender
from app.alerting.config import AlertConfig
from app.alerting.notification import Context, Notification, compose
from app.alerting.outbox import failed
from app.alerting.rule import SERVICE, Rule
from app.alerting.self_monitoring import AWAY, away_alert
from app.rollup.resolutions import MINUTE_S
from app.storage.interface import Store

log = logging.getLogger(__name__)

FILE = "alerts-away.json"
_BEAT_TTL_MS = 600_000  # whoever evaluates then has seen it


class _OutageRecord(msgspec.Struct):
    """Since when the store has been away, Unix seconds, 0 while it is not; and who knows."""

    since_s: int = 0
    channels: list[str] = []


class StoreOutageNotifier:
    """Of this process."""

    def __init__(self, path: Path, sender: ChannelSender, *, name: str, url: str) -> None:
        """
        Args:
            path: the file; its directory is there if anything was ever to be kept in it.
            sender: through which channels are told.
            name: of this machine.
            url: of the pages.
        """
        self._path = path
        self._sender = sender
        self._name = name
        self._url = url
        self._since_s = 0
        self._file: IO[bytes] | None = None
        self._healths: dict[str, ChannelHealth] = {}

    async def note(self, now_s: float, config: AlertConfig) -> None:
        """The store is away; tell, once it has been for as long as the rule says."""
        self._since_s = self._since_s or int(now_s)
        rule = next((each for each in config.rules.values() if each.kind == "buffering"), None)
        if rule is None or not rule.enabled or config.is_muted(SERVICE, now_s):
            return
        if now_s - self._since_s < rule.limit * MINUTE_S or not config.channels:
            return
        if not self._lock():
            return
        told = self._read()
        told.since_s = told.since_s or self._since_s
        message = _message(rule, told.since_s, int(now_s), self._url, self._name)
        for channel in config.channels.values():
            if channel.name in told.channels or not channel.takes(SERVICE, message.severity):
                continue
            if await self._send(channel, message, int(now_s)):
                told.channels.append(channel.name)
                self._write(told)

    async def _send(self, channel: Channel, message: Notification, now_s: int) -> bool:
        health = self._healths.get(channel.name, ChannelHealth())
        if now_s < health.next_s:
            return False
        try:
            await self._sender.send(channel, message)
        except ChannelDeliveryError as error:
            log.warning("alerts: channel %s: %s", channel.name, error)
            self._healths[channel.name] = failed(health, now_s, error)
            return False
        return True

    async def back(self, store: Store) -> None:
        """The store answers: let whoever evaluates know what was told, so that its end is told.

        Raises:
            StoreUnavailable: it is away again.
        """
        self._since_s = 0
        self._healths.clear()
        if not self._path.exists() or not self._path.stat().st_size or not self._lock():
            return
        told = self._read()
        if told.channels:
            said = {"since_s": str(told.since_s)}
            await store.heartbeat(f"{AWAY}{self._name}", said, ttl_ms=_BEAT_TTL_MS)
        self._write(None)
        self.close()

    def _lock(self) -> bool:
        """Whether this process is the one of this machine."""
        if self._file is not None:
            return True
        try:
            file = self._path.open("a+b")
        except OSError as error:
            log.error("alerts: cannot write to %s (%s): nobody is told", self._path, error.strerror)
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def close(self) -> None:
        """Let another process of this machine tell."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> _OutageRecord:
        assert self._file is not None  # noqa: S101  by _lock
        self._file.seek(0)
        data = self._file.read()
        try:
            return msgspec.json.decode(data, type=_OutageRecord) if data else _OutageRecord()
        except msgspec.MsgspecError:  # a crash in the middle of writing
            log.warning("alerts: %s cannot be read: who was told may be told again", self._path)
            return _OutageRecord()

    def _write(self, told: _OutageRecord | None) -> None:
        assert self._file is not None  # noqa: S101
        self._file.truncate(0)
        if told is not None:
            self._file.write(msgspec.json.encode(told))
        self._file.flush()


def _message(rule: Rule, since_s: int, now_s: int, url: str, name: str) -> Notification:
    alert = away_alert(rule, since_s, now_s)
    rules: Mapping[str, Rule] = {rule.name: rule}
    notes = (f"So says {name}. Nothing else can be told until the store is back.",)
    context = Context(now_s, url, notes=notes)
    return compose(SERVICE, [alert], [], [], rules, context)
