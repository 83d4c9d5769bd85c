"""Sends notifications as POST requests, for all kinds of channels with an address on the web.

Only the configured host is contacted: redirects are not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2

from app.alerting.channels.channel import Channel, ChannelError, split_address
from app.alerting.channels.kind import ChannelDeliveryError, ChannelField
from app.support.about import version
from app.support.loopback import is_loopback
from app.support.tls_errors import tls_problem

# At INFO it logs the URL of every request, and the URL of a webhook is a secret.
logging.getLogger("httpx2").setLevel(logging.WARNING)

RETRY_AFTER_S_MAX = 3600
WEB_ADDRESS = ChannelField("url", "URL", "https://…; - to read it from standard input")


def check_web_address(channel: Channel) -> None:
    """
    Raises:
        ChannelError: the address is not https://, or not one of this machine.
    """
    url = split_address(channel.url, "https://….")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise ChannelError(
            "the address must begin with https://. Only this machine may use http://"
        )
    if url.username is not None or url.fragment:
        raise ChannelError("the address must not contain a user, password or fragment")


def mask_web_address(channel: Channel) -> str:
    """Scheme and host; path and query are secrets."""
    url = urlsplit(channel.url)
    return f"{url.scheme}://{url.hostname}/…"


async def post_json(
    channel: Channel, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    """POST a body, JSON unless `headers` say otherwise, to the channel's address.

    Raises:
        ChannelDeliveryError: the answer is not 2xx, or there is none, or a header is no ASCII.
    """
    sent_headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Dynometer/{version()}",
        **(headers or {}),
    }
    # trust_env=False: use no proxy from environment variables. The body of the answer is not read.
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream("POST", channel.url, content=body, headers=sent_headers) as answer,
        ):
            status, after = answer.status_code, answer.headers.get("retry-after", "")
    except UnicodeEncodeError as error:
        raise ChannelDeliveryError(f"cannot be sent: {error.object!r} is no header") from None
    except httpx2.HTTPError as error:
        raise ChannelDeliveryError(
            f"cannot be reached ({tls_problem(error) or type(error).__name__})"
        ) from None
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
