"""Channels that get e-mail through a mail server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from app.alerting.channels.channel import Channel, ChannelError, split_address
from app.alerting.channels.kind import ChannelDeliveryError, ChannelField
from app.alerting.notification import Notification, as_text
from app.support.loopback import is_loopback
from app.support.tls_errors import tls_problem

RECIPIENTS_MAX = 20
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_PORTS = {"smtp": 587, "smtps": 465}
_REPLY_LENGTH_MAX = 200  # characters of a mail server's reply that are kept


class Email:
    """A plain text through a mail server.

    smtp:// upgrades the connection with STARTTLS, unless the server is on this machine; smtps://
    uses TLS from the start.
    """

    name = "email"
    help = "e-mail through a mail server"
    fields = (
        ChannelField("to", "ADDRESS", "a recipient", is_list=True),
        ChannelField(
            "url",
            "URL",
            "smtp://USER:PASSWORD@HOST:PORT or smtps://…; - to read it from standard input",
            flag="--smtp",
        ),
        ChannelField(
            "sender",
            "SENDER",
            "sender address (default: the first ADDRESS)",
            flag="--from",
            is_required=False,
        ),
    )

    def complete(self, channel: Channel) -> Channel:
        sender = channel.sender or next(iter(channel.to), "")
        return msgspec.structs.replace(channel, sender=sender)

    def check(self, channel: Channel) -> None:
        form = "smtp://USER:PASSWORD@HOST:PORT, or smtps://… for TLS from the start"
        if split_address(channel.url, form).scheme not in _PORTS:
            raise ChannelError(f"the mail server must be {form}")
        if not 0 < len(channel.to) <= RECIPIENTS_MAX:
            raise ChannelError(f"expected 1 to {RECIPIENTS_MAX} recipients, got {len(channel.to)}")
        for address in (*channel.to, channel.sender):
            if not _ADDRESS.fullmatch(address):
                raise ChannelError(f"{address!r} is not an e-mail address such as ops@example.com")

    def masked_address(self, channel: Channel) -> str:
        return f"{', '.join(channel.to)} through {urlsplit(channel.url).hostname}"

    async def deliver(self, channel: Channel, message: Notification, now_s: int) -> None:
        client = smtp_client(channel.url)
        try:
            await client.connect()
            refusals, _ = await client.send_message(compose_mail(message, channel))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise ChannelDeliveryError(_problem(error)) from None
        finally:
            client.close()  # without QUIT: its answer could keep an accepted message waiting
        if refusals:
            raise ChannelDeliveryError(_rejected(refusals))


def smtp_client(address: str) -> aiosmtplib.SMTP:
    """A client for the mail server at an address. Certificates are checked against its host."""
    url = urlsplit(address)
    host, has_tls = url.hostname or "", url.scheme == "smtps"
    user, password = unquote(url.username or ""), unquote(url.password or "")
    return aiosmtplib.SMTP(
        hostname=host,
        port=url.port or _PORTS[url.scheme],
        username=user or None,
        password=password if user else None,
        use_tls=has_tls,
        start_tls=not has_tls and not is_loopback(host),
        timeout=None,  # the whole attempt has a limit
    )


def compose_mail(message: Notification, channel: Channel) -> EmailMessage:
    """The notification as e-mail. Its Message-ID is the same each time that it is sent."""
    mail = EmailMessage(policy=SMTP)
    prefix = {"firing": "[FIRING] ", "resolved": "[RESOLVED] "}.get(message.status, "")
    mail["Subject"] = prefix + message.title
    mail["From"] = f"Dynometer <{channel.sender}>"
    mail["To"] = ", ".join(channel.to)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created, UTC))
    domain = channel.sender.rpartition("@")[2]
    mail["Message-ID"] = f"<{message.id}.{channel.name}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message.title}\n\n{as_text(message)}")
    return mail


def _problem(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "the mail server rejected the user or password"
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return _rejected(refusal.recipient for refusal in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"the mail server answered {error.code} {error.message}"[:_REPLY_LENGTH_MAX]
    if type(error) is aiosmtplib.SMTPException:  # subclasses say what else went wrong
        return "the mail server offers no TLS or no authentication. Try smtps://…"
    cause = tls_problem(error) or type(error.__cause__ or error).__name__
    return f"the mail server cannot be reached or closed the connection ({cause})"


def _rejected(recipients: Iterable[str]) -> str:
    return f"the mail server rejected {', '.join(sorted(recipients))}"
