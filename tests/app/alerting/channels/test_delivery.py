"""Messages reach real receivers in the right format, or the error says why not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from app.alerting.channels.channel import Channel
from app.alerting.channels.delivery import ChannelSender
from app.alerting.channels.http_post import post_json
from app.alerting.channels.kind import ChannelDeliveryError
from app.alerting.channels.kinds import complete_and_check
from app.alerting.notification import Notification, NotificationItem
from tests.support.certificates import certificate
from tests.support.receivers import mailbox, webhook
from tests.support.service import NOW_S, Clock

MESSAGE = Notification(
    id="0f0f",
    app="shop",
    status="firing",
    severity="page",
    title="shop: H12 Request timeout: 14 in a minute",
    created=int(NOW_S),
    alerts=(
        NotificationItem(
            id="shop:app-broken:H12:1",
            app="shop",
            rule="app-broken",
            key="H12",
            status="firing",
            severity="page",
            what="H12 <Request> & timeout: 14 in a minute, since 10:00 UTC (2 min)",
            since=int(NOW_S) - 120,
            value=14,
            dyno="web.2: 12 of 14",
            means="No first byte within 30 s.",
            look="Slow queries.",
        ),
    ),
    before="release v42 at 09:59 UTC (1 min before).",
    link="https://metrics.example.com/apps/shop?start=1",
)


def channel(url: str, kind: Any = "webhook", **more: Any) -> Channel:
    return complete_and_check(Channel(name="ops", kind=kind, url=url, added_s=1, key="KEY", **more))


async def test_a_webhook_gets_json_that_is_signed() -> None:
    async with webhook() as hook:
        await ChannelSender(Clock()).send(channel(hook.url), MESSAGE)

        (got,) = hook.received
    digest = hmac.new(b"KEY", f"{int(NOW_S)}.".encode() + got.body, hashlib.sha256).hexdigest()
    assert got.headers["dynometer-signature"] == f"sha256={digest}"
    assert got.headers["dynometer-timestamp"] == str(int(NOW_S))
    assert got.headers["dynometer-id"] == got.json["id"] == "0f0f"
    assert got.headers["content-type"] == "application/json"
    assert got.json["format"] == 1
    assert got.json["alerts"][0]["value"] == 14
    assert got.json["besides"] == []
    assert "FIRING  H12" in got.json["text"]


async def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with webhook() as hook:
        hook.answers = [200, 500]
        await ChannelSender(Clock()).send(channel(hook.url), MESSAGE)
        with pytest.raises(ChannelDeliveryError):
            await ChannelSender(Clock()).send(channel(hook.url), MESSAGE)

    assert "SECRET" not in caplog.text


async def test_slack_gets_a_text_in_its_markup() -> None:
    async with webhook() as hook:
        await ChannelSender(Clock()).send(channel(hook.url, "slack"), MESSAGE)

        (got,) = hook.received
    assert set(got.json) == {"text"}
    lines = got.json["text"].split("\n")
    assert lines[0] == "🔴 *shop: H12 Request timeout: 14 in a minute*"
    assert lines[1].startswith("• H12 &lt;Request&gt; &amp; timeout")
    assert lines[1].endswith("; web.2: 12 of 14")
    assert "*Just before:* release v42" in got.json["text"]
    assert lines[-1] == "<https://metrics.example.com/apps/shop?start=1|Open in Dynometer>"
    assert "dynometer-signature" not in got.headers


async def test_e_mail_arrives_with_an_id_that_stays() -> None:
    async with mailbox() as box:
        url = f"smtp://user:p%40ss@127.0.0.1:{box.port}"
        ops = channel(url, "email", to=("a@example.com", "b@example.com"), sender="d@example.org")
        await ChannelSender(Clock()).send(ops, MESSAGE)
        await ChannelSender(Clock()).send(ops, MESSAGE)

    first, second = box.letters
    assert first["Subject"] == "[FIRING] shop: H12 Request timeout: 14 in a minute"
    assert first["From"] == "Dynometer <d@example.org>"
    assert first["To"] == "a@example.com, b@example.com"
    assert first["Message-ID"] == second["Message-ID"] == "<0f0f.ops@example.org>"
    assert "Meaning: No first byte within 30 s." in str(first)
    assert len(box.recipients) == 4
    assert box.credentials[0] == "AHVzZXIAcEBzcw=="  # \0user\0p@ss


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (302, "answered 302, a redirect, which is not followed"),
        (404, "answered 404. Its address is wrong or was revoked"),
        (500, "answered 500"),
    ],
)
async def test_the_error_of_a_webhook_is_reported(status: int, message: str) -> None:
    async with webhook() as hook:
        hook.answers = [status]
        hook.head = f"location: {hook.url}/elsewhere\r\n"
        with pytest.raises(ChannelDeliveryError) as error:
            await ChannelSender(Clock()).send(channel(hook.url), MESSAGE)

        assert len(hook.received) == 1  # the redirect was not followed
    assert str(error.value).startswith(message)
    assert "SECRET" not in str(error.value)


async def test_retry_after_is_respected() -> None:
    async with webhook() as hook:
        hook.answers, hook.head = [429], "retry-after: 90\r\n"
        with pytest.raises(ChannelDeliveryError) as error:
            await ChannelSender(Clock()).send(channel(hook.url), MESSAGE)

    assert error.value.retry_after_s == 90


async def test_a_silent_receiver_times_out() -> None:
    async with webhook() as hook, mailbox() as box:
        hook.answers, box.dripping = [0], True
        sender = ChannelSender(Clock(), time_limit_s=0.2)
        mail = channel(
            f"smtp://127.0.0.1:{box.port}", "email", to=("a@example.com",), sender="d@example.org"
        )
        for silent_channel in (channel(hook.url), mail):
            async with asyncio.timeout(10):
                with pytest.raises(ChannelDeliveryError):
                    await sender.send(silent_channel, MESSAGE)


async def test_the_error_of_an_unreachable_receiver_holds_no_secret() -> None:
    async with webhook() as hook:
        url = hook.url
    mail = channel(
        "smtp://user:SECRET@127.0.0.1:1", "email", to=("a@example.com",), sender="d@example.org"
    )
    for closed_channel in (channel(url), mail):
        with pytest.raises(ChannelDeliveryError) as error:
            await ChannelSender(Clock()).send(closed_channel, MESSAGE)
        assert "reached" in str(error.value)
        assert "SECRET" not in str(error.value)


async def test_the_error_of_a_mail_server_is_reported() -> None:
    async with mailbox() as box:
        box.refuses = "550 nobody of that name"
        mail = channel(
            f"smtp://127.0.0.1:{box.port}", "email", to=("a@example.com",), sender="d@example.org"
        )
        with pytest.raises(ChannelDeliveryError, match="rejected a@example"):
            await ChannelSender(Clock()).send(mail, MESSAGE)


async def test_a_mail_server_with_tls_must_show_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    async with mailbox(context) as box:
        mail = channel(
            f"smtps://localhost:{box.port}", "email", to=("a@example.com",), sender="d@example.org"
        )
        with pytest.raises(ChannelDeliveryError):
            await ChannelSender(Clock()).send(mail, MESSAGE)
        assert box.letters == []
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        await ChannelSender(Clock()).send(mail, MESSAGE)

        assert len(box.letters) == 1


# Connects to this machine, and is none of its names: a mail server elsewhere, as far as we know.
ELSEWHERE = "0.0.0.0"


async def test_nothing_is_sent_to_a_mail_server_elsewhere_that_offers_no_tls() -> None:
    async with mailbox() as box:
        url = f"smtp://user:SECRET@{ELSEWHERE}:{box.port}"
        with pytest.raises(ChannelDeliveryError, match=r"offers no TLS .* Try smtps://"):
            await ChannelSender(Clock()).send(channel(url, "email", to=("a@example.com",)), MESSAGE)

    assert (box.letters, box.recipients, box.credentials) == ([], [], [])


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_a_connection_is_upgraded_only_with_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    chain, key = certificate(tmp_path, ELSEWHERE)
    async with mailbox() as box:
        box.upgrade = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        box.upgrade.load_cert_chain(chain, key)
        mail = channel(f"smtp://user:SECRET@{ELSEWHERE}:{box.port}", "email", to=("a@example.com",))
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(chain))
            await ChannelSender(Clock()).send(mail, MESSAGE)
        else:
            with pytest.raises(ChannelDeliveryError) as error:
                await ChannelSender(Clock()).send(mail, MESSAGE)
            assert "SECRET" not in str(error.value)

    assert (len(box.letters), len(box.credentials)) == ((1, 1) if is_trusted else (0, 0))


async def test_a_certificate_of_another_host_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = certificate(tmp_path, "mail.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    async with mailbox(context) as box:
        mail = channel(f"smtps://localhost:{box.port}", "email", to=("a@example.com",))
        with pytest.raises(
            ChannelDeliveryError,
            match="TLS failed: its certificate is not accepted",
        ):
            await ChannelSender(Clock()).send(mail, MESSAGE)

    assert box.letters == []


async def test_a_recipient_that_is_refused_is_named_though_others_got_the_mail() -> None:
    async with mailbox() as box:
        box.refuses_one = "b@example.com"
        mail = channel(
            f"smtp://127.0.0.1:{box.port}", "email", to=("a@example.com", "b@example.com")
        )
        with pytest.raises(ChannelDeliveryError, match=r"rejected b@example\.com$"):
            await ChannelSender(Clock()).send(mail, MESSAGE)

    assert len(box.letters) == 1


async def test_a_channel_of_an_unknown_kind_says_what_to_do() -> None:
    with pytest.raises(ChannelDeliveryError, match=r"no channels of kind pager\. Upgrade every"):
        await ChannelSender(Clock()).send(Channel("ops", "pager", "https://SECRET", 1), MESSAGE)


async def test_a_header_that_is_no_ascii_fails_the_delivery_and_nothing_else() -> None:
    channel = Channel("ops", "slack", "http://127.0.0.1:1", 1)
    with pytest.raises(ChannelDeliveryError, match="is no header"):
        await post_json(channel, b"text", {"Title": "späte Antworten"})
