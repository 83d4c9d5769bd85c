"""Channels, the destinations of notifications, as they are stored.

Their secrets (the address of a webhook, passwords, signing keys) are stored for the service alone
and never shown again.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from app.support.errors import UserError

CHANNELS_MAX = 20
URL_LENGTH_MAX = 2_000
UNREADABLE = "unreadable"


class ChannelError(UserError):
    """A channel is not valid; the message says how to correct it. It never contains a secret."""


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A destination of notifications, stored as JSON.

    kind    a name in KINDS, or one that only a newer version knows
    url     where notifications are sent, with passwords
    key     signs the notifications of a webhook
    to, sender  addresses, for e-mail only
    apps    glob patterns of the apps whose notifications go there
    least   warn: all notifications; page: only those that should wake someone up
    options  fields that only this kind has, by name
    """

    name: str
    kind: str
    url: str
    added_s: int
    key: str = ""
    to: tuple[str, ...] = ()
    sender: str = ""
    apps: tuple[str, ...] = ("*",)
    least: Literal["warn", "page"] = "warn"
    options: dict[str, str] = {}

    def accepts(self, app: str, severity: str) -> bool:
        """Whether a notification is for this channel. Dynometer itself matches all apps."""
        is_app_included = app == "-" or any(fnmatchcase(app, glob) for glob in self.apps)
        return is_app_included and (self.least == "warn" or severity == "page")


class ChannelHealth(msgspec.Struct, frozen=True):
    """The outcome of recent deliveries to a channel. Times in Unix seconds, 0 for never.

    attempts  failed attempts since the last success
    next_s    the earliest time of the next attempt
    """

    last_ok_s: int = 0
    failing_since_s: int = 0
    attempts: int = 0
    next_s: int = 0
    error: str = ""

    def is_waiting(self, now_s: float) -> bool:
        """Whether the next attempt is not due yet. A clock that was set back delays none."""
        return self.failing_since_s <= now_s < self.next_s


def split_address(text: str, form: str) -> SplitResult:
    """The parts of an address. `form`: how it is written, for the error.

    Raises:
        ChannelError: it is not a URL with a host.
    """
    if len(text) > URL_LENGTH_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise ChannelError(f"the address is not a valid URL. Expected {form}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ChannelError("the address is not a valid URL. Check its port.") from None
    if not url.hostname or port == 0:
        raise ChannelError(f"the address has no host. Expected {form}")
    return url


def unreadable_channel(name: str) -> Channel:
    """Stands for a record that cannot be decoded, so that it is reported instead of ignored."""
    return Channel(name, UNREADABLE, "", 0, apps=(), least="page")


def pack_channel(channel: Channel) -> bytes:
    """Encode a channel for the store (JSON)."""
    return msgspec.json.encode(channel)


def unpack_channel(record: bytes) -> Channel:
    """
    Raises:
        msgspec.MsgspecError: the record is not a channel.
    """
    return msgspec.json.decode(record, type=Channel)


def pack_health(health: ChannelHealth) -> bytes:
    """Encode the health of a channel for the store (JSON)."""
    return msgspec.json.encode(health)


def unpack_health(record: bytes | None) -> ChannelHealth:
    """The health of a channel, with all defaults if there is no record.

    Raises:
        msgspec.MsgspecError: the record is damaged or from a newer version.
    """
    return msgspec.json.decode(record, type=ChannelHealth) if record else ChannelHealth()
