"""Channels that get signed JSON."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from app.alerting.channels.channel import Channel
from app.alerting.channels.http_post import (
    WEB_ADDRESS,
    check_web_address,
    mask_web_address,
    post_json,
)
from app.alerting.notification import Notification, as_text

FORMAT = 1  # of the body


class Webhook:
    """JSON with all fields of the notification, signed with a key that `complete` draws."""

    name = "webhook"
    help = "a POST of signed JSON"
    fields = (WEB_ADDRESS,)

    def complete(self, channel: Channel) -> Channel:
        key = channel.key or secrets.token_urlsafe(32)
        return msgspec.structs.replace(channel, key=key)

    def check(self, channel: Channel) -> None:
        check_web_address(channel)

    def masked_address(self, channel: Channel) -> str:
        return mask_web_address(channel)

    async def deliver(self, channel: Channel, message: Notification, now_s: int) -> None:
        body = webhook_body(message)
        headers = {
            "Dynometer-Id": message.id,
            "Dynometer-Timestamp": str(now_s),
            "Dynometer-Signature": signature(channel.key, now_s, body),
        }
        await post_json(channel, body, headers)


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
