"""A channel: where messages go. What opens it (an address that is a secret, a password, a key to
sign with) is kept in the store for the service alone, and never shown again.
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
    """This is no channel; the message says what would be. It never holds a secret."""


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """`url`: of the webhook, or smtp(s)://USER:PASSWORD@HOST:PORT. `key`: with which a webhook's
    messages are signed. `to`, `sender`: of e-mail. `apps`: globs; `least`: warn for all messages,
    page for those alone for which somebody should get up.
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

    def takes(self, app: str, severity: str) -> bool:
        """Whether a message goes there. What is about Dynometer itself goes everywhere."""
        about = app == "-" or any(fnmatchcase(app, glob) for glob in self.apps)
        return about and (self.least == "warn" or severity == "page")

    @property
    def where(self) -> str:
        """For people: enough to know it by, and nothing that opens it."""
        host = urlsplit(self.url).hostname or ""
        if self.kind == "email":
            return f"{', '.join(self.to)} through {host}"
        return f"https://{host}/…" if self.url.startswith("https:") else f"http://{host}/…"


class ChannelHealth(msgspec.Struct, frozen=True):
    """How deliveries to a channel go. Times in Unix seconds, 0 for never. `attempts` failed since
    the last that did not; `next_s`: not before then.
    """

    last_ok_s: int = 0
    failing_since_s: int = 0
    attempts: int = 0
    next_s: int = 0
    error: str = ""


def new_key() -> str:
    """A key to sign with."""
    return secrets.token_urlsafe(32)


def check(channel: Channel) -> Channel:
    """The channel.

    Raises:
        ChannelError: it cannot be used as it is.
    """
    if not NAME.fullmatch(channel.name):
        raise ChannelError(f"name={channel.name}: expected {NAME_RULE}")
    if not channel.apps or not all(_GLOB.fullmatch(glob) for glob in channel.apps):
        raise ChannelError("apps: expected names of apps, or patterns such as blog-*")
    url = _split(channel.url)
    if channel.kind == "email":
        _check_email(channel, url)
    elif url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise ChannelError("the address must begin with https://; http:// is for this machine only")
    elif url.username is not None or url.fragment:
        raise ChannelError("the address must hold no user, password or fragment")
    return channel


def _split(text: str) -> SplitResult:
    if len(text) > _URL_LENGTH_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise ChannelError(
            "the address cannot be read: expected https://… (or smtp://… for e-mail)"
        )
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ChannelError("the address cannot be read: is its port a number?") from None
    if not url.hostname or port == 0:
        raise ChannelError("the address names no host: expected https://…, for e-mail smtp://…")
    return url


def _check_email(channel: Channel, url: SplitResult) -> None:
    if url.scheme not in _PORTS:
        raise ChannelError(
            "the mail server must be given as smtp://USER:PASSWORD@HOST:PORT, or smtps://… for TLS "
            "from the start"
        )
    if not 0 < len(channel.to) <= RECIPIENTS_MAX:
        raise ChannelError(f"expected 1 to {RECIPIENTS_MAX} addresses to write to")
    for address in (*channel.to, channel.sender):
        if not _ADDRESS.fullmatch(address):
            raise ChannelError(f"{address!r} is no address, as ops@example.com")


class MailServer(msgspec.Struct, frozen=True):
    """Where e-mail is handed in. `tls`: from the start. Without it, TLS is begun (STARTTLS) unless
    the server is on this machine.
    """

    host: str
    port: int
    tls: bool
    local: bool
    user: str
    password: str


def mail_server(channel: Channel) -> MailServer:
    """The parts of an e-mail channel's address."""
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
    """As the store keeps it."""
    return msgspec.json.encode(channel)


def unpack_channel(record: bytes) -> Channel:
    """
    Raises:
        msgspec.MsgspecError: this is no channel.
    """
    return msgspec.json.decode(record, type=Channel)


def pack_health(health: ChannelHealth) -> bytes:
    """As the store keeps it."""
    return msgspec.json.encode(health)


def unpack_health(record: bytes | None) -> ChannelHealth:
    """What is known of a channel; nothing yet, where there is no record.

    Raises:
        msgspec.MsgspecError: this is none.
    """
    return msgspec.json.decode(record, type=ChannelHealth) if record else ChannelHealth()
