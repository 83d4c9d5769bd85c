"""Channels, the destinations of notifications.

Their secrets (the address of a webhook, passwords, signing keys) are stored for the service alone
and never shown again.
"""

from __future__ import annotations

import re
import secrets
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from app.alerting.rule import NAME, NAME_RULE
from app.support.errors import UserError
from app.support.loopback import is_loopback

Kind = Literal["slack", "webhook", "email"]

CHANNELS_MAX = 20
RECIPIENTS_MAX = 20
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")
_URL_LENGTH_MAX = 2_000
_PORTS = {"smtp": 587, "smtps": 465}


class ChannelError(UserError):
    """A channel is not valid; the message says how to correct it. It never contains a secret."""


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A destination of notifications; stored as JSON.

    url     the webhook's, or smtp(s)://USER:PASSWORD@HOST:PORT
    key     signs the notifications of a webhook
    to, sender  addresses, for e-mail only
    apps    glob patterns of the apps whose notifications go there
    least   warn: all notifications; page: only those that should wake someone up
    """

    name: str
    kind: Kind
    url: str
    added_s: int
    key: str = ""
    to: tuple[str, ...] = ()
    sender: str = ""
    apps: tuple[str, ...] = ("*",)
    least: Literal["warn", "page"] = "warn"

    def accepts(self, app: str, severity: str) -> bool:
        """Whether a notification is for this channel. Dynometer itself matches all apps."""
        is_app_included = app == "-" or any(fnmatchcase(app, glob) for glob in self.apps)
        return is_app_included and (self.least == "warn" or severity == "page")

    @property
    def masked_address(self) -> str:
        """The address without its secret parts, for display."""
        host = urlsplit(self.url).hostname or ""
        if self.kind == "email":
            return f"{', '.join(self.to)} through {host}"
        return f"https://{host}/…" if self.url.startswith("https:") else f"http://{host}/…"


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


def new_key() -> str:
    """A random key for signing."""
    return secrets.token_urlsafe(32)


def check(channel: Channel) -> Channel:
    """Return the channel if it is valid.

    Raises:
        ChannelError
    """
    if not NAME.fullmatch(channel.name):
        raise ChannelError(f"name={channel.name}: expected {NAME_RULE}")
    if not channel.apps or not all(_GLOB.fullmatch(glob) for glob in channel.apps):
        raise ChannelError("apps: expected app names, or patterns such as blog-*")
    url = _split(channel.url)
    if channel.kind == "email":
        _check_email(channel, url)
    elif url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise ChannelError(
            "the address must begin with https://. Only this machine may use http://"
        )
    elif url.username is not None or url.fragment:
        raise ChannelError("the address must not contain a user, password or fragment")
    return channel


def _split(text: str) -> SplitResult:
    if len(text) > _URL_LENGTH_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise ChannelError(
            "the address is not a valid URL. Expected https://… (or smtp://… for e-mail)."
        )
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ChannelError("the address is not a valid URL. Check its port.") from None
    if not url.hostname or port == 0:
        raise ChannelError("the address has no host. Expected https://…, or smtp://… for e-mail.")
    return url


def _check_email(channel: Channel, url: SplitResult) -> None:
    if url.scheme not in _PORTS:
        raise ChannelError(
            "the mail server must be smtp://USER:PASSWORD@HOST:PORT, or smtps://… for TLS from the "
            "start"
        )
    if not 0 < len(channel.to) <= RECIPIENTS_MAX:
        raise ChannelError(f"expected 1 to {RECIPIENTS_MAX} recipients, got {len(channel.to)}")
    for address in (*channel.to, channel.sender):
        if not _ADDRESS.fullmatch(address):
            raise ChannelError(f"{address!r} is not an e-mail address such as ops@example.com")


class MailServer(msgspec.Struct, frozen=True):
    """A mail server. `tls`: from the start. Otherwise the connection is upgraded with STARTTLS,
    unless the server is on this machine (`local`).
    """

    host: str
    port: int
    tls: bool
    local: bool
    user: str
    password: str


def mail_server(channel: Channel) -> MailServer:
    """The mail server in the address of an e-mail channel."""
    url = urlsplit(channel.url)
    host = url.hostname or ""
    return MailServer(
        host=host,
        port=url.port or _PORTS[url.scheme],
        tls=url.scheme == "smtps",
        local=is_loopback(host),
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
    )


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
