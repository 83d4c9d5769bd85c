"""Sends notifications through channels.

Only the configured host is contacted: redirects are not followed. Every attempt has a time limit.
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

# At INFO it logs the URL of every request, and the URL of a webhook is a secret.
logging.getLogger("httpx2").setLevel(logging.WARNING)

TIME_LIMIT_S = 10.0  # of one whole attempt
RETRY_AFTER_S_MAX = 3600
_REPLY_LENGTH_MAX = 200  # characters of a mail server's reply that are kept


class ChannelDeliveryError(Exception):
    """A notification was not delivered. The reason contains no address and no other secret.
    `retry_after_s`: the delay that the channel asked for, 0 if none.
    """

    def __init__(self, reason: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChannelSender:
    """Sends notifications. It keeps no connection open between them."""

    def __init__(self, clock: Callable[[], float], time_limit_s: float = TIME_LIMIT_S) -> None:
        """`clock`: returns Unix time in seconds, for signatures."""
        self._clock = clock
        self._time_limit_s = time_limit_s

    async def send(self, channel: Channel, message: Notification) -> None:
        """
        Raises:
            ChannelDeliveryError: the channel rejected it or did not answer in time.
        """
        if channel.kind == "email":
            await asyncio.to_thread(
                _send_mail, mail_server(channel), mail(message, channel), self._time_limit_s
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
    # trust_env=False: use no proxy from environment variables. The body of the answer is not read.
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
            f"answered {status}, a redirect, which is not followed. Add the channel again with the "
            "address that it redirects to"
        )
    hint = ". Its address is wrong or was revoked" if status in (401, 403, 404, 410) else ""
    after_s = min(int(after), RETRY_AFTER_S_MAX) if after.isdigit() and len(after) < 9 else 0
    raise ChannelDeliveryError(f"answered {status}{hint}", after_s)


def _send_mail(server: MailServer, letter: EmailMessage, time_limit_s: float) -> None:
    """Pass the e-mail to the mail server. Blocks, so it runs in a thread."""
    smtp = _client(server, time_limit_s)
    # The socket's timeout restarts with each byte, so a server that drips bytes needs a watchdog.
    watch = threading.Timer(time_limit_s, _disconnect, [smtp])
    watch.daemon = True
    watch.start()
    try:
        smtp.connect(server.host, server.port)
        if not server.tls and not server.local:
            smtp.starttls(context=ssl.create_default_context())
        if server.user:
            smtp.login(server.user, server.password)
        refusals = smtp.send_message(letter)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise ChannelDeliveryError(_mail_problem(error)) from None
    finally:
        watch.cancel()
        smtp.close()
    if refusals:
        raise ChannelDeliveryError(f"the mail server rejected {', '.join(sorted(refusals))}")


def _client(server: MailServer, time_limit_s: float) -> smtplib.SMTP:
    """An SMTP client that is not connected yet, so that the watchdog covers connecting too."""
    smtp = (
        smtplib.SMTP_SSL(timeout=time_limit_s, context=ssl.create_default_context())
        if server.tls
        else smtplib.SMTP(timeout=time_limit_s)
    )
    smtp._host = server.host  # type: ignore[attr-defined]  # TLS verifies this host's certificate
    return smtp


def _disconnect(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        smtp.sock.shutdown(socket.SHUT_RDWR)


def _mail_problem(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server rejected the user or password"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the mail server rejected {', '.join(sorted(error.recipients))}"
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        text = reply.decode("latin-1") if isinstance(reply, bytes) else reply
        return f"the mail server answered {error.smtp_code} {text}"[:_REPLY_LENGTH_MAX]
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server offers no TLS or no authentication. Try smtps://…"
    return f"the mail server cannot be reached or closed the connection ({type(error).__name__})"
