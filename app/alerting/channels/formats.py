"""Formats a notification for each kind of channel. Pure."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import msgspec

from app.alerting.channels.channel import Channel
from app.alerting.notification import Notification, as_text

FORMAT = 1  # of the webhook's body
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SIGNS = {"firing": "🔴", "resolved": "🟢", "test": "🔵"}


def webhook_body(message: Notification) -> bytes:
    """JSON with all fields of the notification, and its plain text."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    alerts = [
        {name: getattr(item, name) for name in item.__struct_fields__} for item in message.alerts
    ]
    return msgspec.json.encode(
        {"format": FORMAT, **fields, "alerts": alerts, "text": as_text(message)}
    )


def signature(key: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over "TIMESTAMP.BODY". It proves the sender, and the time against replays."""
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def slack_body(message: Notification) -> bytes:
    """JSON with a text in Slack's markup. Mattermost, Rocket.Chat and Discord (…/slack) accept it
    too.
    """
    lines = [f"{_SIGNS[message.status]} *{_slack(message.title)}*"]
    for item in message.alerts:
        lines.append(f"• {_slack(item.what)}" + (f"; {_slack(item.dyno)}" if item.dyno else ""))
        lines += [f"    {_slack(text)}" for text in (item.means, item.reason) if text]
        lines += [f"    _Check:_ {_slack(item.look)}"] if item.look else []
    if message.before:
        lines.append(f"*Just before:* {_slack(message.before)}")
    if message.besides:
        lines.append(f"Also firing: {_slack('; '.join(message.besides))}.")
    lines += [_slack(note) for note in message.notes]
    lines.append(f"<{message.link}|Open in Dynometer>")
    return msgspec.json.encode({"text": "\n".join(lines)})


def _slack(text: str) -> str:
    return text.translate(_ESCAPED)


def mail(message: Notification, channel: Channel) -> EmailMessage:
    """The notification as e-mail. Its Message-ID is the same each time that it is sent."""
    letter = EmailMessage(policy=SMTP)
    prefix = {"firing": "[FIRING] ", "resolved": "[RESOLVED] "}.get(message.status, "")
    letter["Subject"] = prefix + message.title
    letter["From"] = f"Dynometer <{channel.sender}>"
    letter["To"] = ", ".join(channel.to)
    letter["Date"] = format_datetime(datetime.fromtimestamp(message.created, UTC))
    domain = channel.sender.rpartition("@")[2]
    letter["Message-ID"] = f"<{message.id}.{channel.name}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(f"{message.title}\n\n{as_text(message)}")
    return letter
