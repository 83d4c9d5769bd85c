"""Sending a message through a channel: to the host that was configured and no other, with a time
limit, and without following where an answer might lead.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage

import httpx2

from app.alerting.channels.channel import Channel, MailServer, mail_server
from app.alerting.channels.formats import mail, signature, slack_body, webhook_body
from app.alerting.notification import Notification
from app.support.about import version

# It would log each address that is asked, and an address may be a secret.
logging.getLogger("httpx2").setLevel(logging.WARNING)

TIME_LIMIT_S = 10.0  # of one attempt, as a whole
RETRY_AFTER_S_MAX = 3600
_SAID_MAX = 200  # letters of what a server said, that are kept


class ChannelDeliveryError(Exception):
    """The channel did not take the message; the reason names neither address nor secret.
    `after_s`: the channel asked to be left alone for so long.
    """

    def __init__(self, reason: str, after_s: int = 0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class ChannelSender:
    """Sends messages. One for a process: it keeps no connection open between messages."""

    def __init__(self, clock: Callable[[], float], time_limit_s: float = TIME_LIMIT_S) -> None:
        """`clock`: Unix time in seconds, for signatures."""
        self._clock = clock
        self._time_limit_s = time_limit_s

    async def send(self, channel: Channel, message: Notification) -> None:
        """
        Raises:
            NotDelivered: it was not taken, or nobody said so in time.
        """
        if channel.kind == "email":
            await asyncio.to_thread(
                _hand_in, mail_server(channel), mail(message, channel), self._time_limit_s
            )
            return
        body = slack_body(message) if channel.kind == "slack" else webhook_body(message)
        headers = {"Content-Type": "application/json", "User-Agent": f"Dynometer/{version()}"}
        if channel.kind == "webhook":
            timestamp = int(self._clock())
            headers["Dynometer-Id"] = message.id
            headers["Dynometer-Timestamp"] = str(timestamp)
            headers["Dynometer-Signature"] = signature(channel.key, timestamp, body)
        try:
            async with asyncio.timeout(self._time_limit_s):
                await _post(channel.url, body, headers)
        except TimeoutError:
            raise ChannelDeliveryError(f"no answer within {self._time_limit_s:.0f} s") from None


async def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    # trust_env: no proxy that only the environment knows of. The answer's body is not read.
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            status, after = answer.status_code, answer.headers.get("retry-after", "")
    except httpx2.HTTPError as error:
        raise ChannelDeliveryError(f"cannot be reached ({type(error).__name__})") from None
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise ChannelDeliveryError(
            f"answers {status}, a redirect, which is not followed: set up the channel with the "
            "address that it leads to"
        )
    gone = ": its address was revoked or is wrong" if status in (401, 403, 404, 410) else ""
    after_s = min(int(after), RETRY_AFTER_S_MAX) if after.isdigit() and len(after) < 9 else 0
    raise ChannelDeliveryError(f"answers {status}{gone}", after_s)


def _hand_in(server: MailServer, letter: EmailMessage, time_limit_s: float) -> None:
    """Blocks; in a thread."""
    smtp = _client(server, time_limit_s)
    # A server that says a letter now and then never times out by itself.
    watch = threading.Timer(time_limit_s, _cut, [smtp])
    watch.daemon = True
    watch.start()
    try:
        smtp.connect(server.host, server.port)
        if not server.tls and not server.local:
            smtp.starttls(context=ssl.create_default_context())
        if server.user:
            smtp.login(server.user, server.password)
        refused = smtp.send_message(letter)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise ChannelDeliveryError(_why(error)) from None
    finally:
        watch.cancel()
        smtp.close()
    if refused:
        raise ChannelDeliveryError(f"the mail server refuses {', '.join(sorted(refused))}")


def _client(server: MailServer, time_limit_s: float) -> smtplib.SMTP:
    """Not connected yet, so that connecting can be cut, too."""
    smtp = (
        smtplib.SMTP_SSL(timeout=time_limit_s, context=ssl.create_default_context())
        if server.tls
        else smtplib.SMTP(timeout=time_limit_s)
    )
    smtp._host = server.host  # type: ignore[attr-defined]  # TLS asks it whose certificate is due
    return smtp


def _cut(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        smtp.sock.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server does not accept user and password"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the mail server refuses {', '.join(sorted(error.recipients))}"
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode("latin-1") if isinstance(said, bytes) else said
        return f"the mail server says {error.smtp_code} {text}"[:_SAID_MAX]
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server offers no TLS or no log-in: try smtps://…"
    return f"the mail server cannot be reached, or hung up ({type(error).__name__})"
