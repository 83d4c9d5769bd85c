"""Validation of channels, and how their addresses are shown."""

from __future__ import annotations

from typing import Any

import pytest

from app.alerting.channels.channel import Channel, ChannelError, check, mail_server

SECRET = "https://hooks.example.com/services/T0/B0/SECRET"


def channel(**fields: Any) -> Channel:
    values = {"name": "ops", "kind": "slack", "url": SECRET, "added_s": 1, **fields}
    return check(Channel(**values))


def mail(**fields: Any) -> Channel:
    defaults = {
        "url": "smtps://u:SECRET@mail.example.com",
        "to": ("a@example.com",),
        "sender": "d@example.com",
    }
    return channel(kind="email", **{**defaults, **fields})


def test_the_masked_address_holds_no_secret() -> None:
    assert channel().masked_address == "https://hooks.example.com/…"
    assert mail().masked_address == "a@example.com through mail.example.com"


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/SECRET",
        "ftp://hooks.example.com/SECRET",
        "https://user:SECRET@hooks.example.com/",
        "https://hooks.example.com/SECRET#part",
        "https:///SECRET",
        "https://hooks.example.com:99999/SECRET",
        "https://hooks.example.com/SECRET\r\nHost: evil",
        "SECRET",
    ],
)
def test_an_invalid_address_is_rejected_without_repeating_it(url: str) -> None:
    with pytest.raises(ChannelError) as error:
        channel(url=url)
    assert "SECRET" not in str(error.value)


def test_this_machine_needs_no_tls() -> None:
    assert channel(url="http://127.0.0.1:9/x").url


@pytest.mark.parametrize(
    "fields",
    [
        {"to": ()},
        {"to": ("a@example.com\r\nBcc: b@example.com",)},
        {"to": ("a",)},
        {"sender": ""},
        {"url": "https://mail.example.com"},
    ],
)
def test_e_mail_needs_a_server_and_addresses(fields: dict[str, Any]) -> None:
    with pytest.raises(ChannelError):
        mail(**fields)


def test_the_parts_of_a_mail_server() -> None:
    server = mail_server(mail(url="smtp://user%40x:p%2Fw@mail.example.com"))

    assert (server.host, server.port, server.tls, server.local) == (
        "mail.example.com",
        587,
        False,
        False,
    )
    assert (server.user, server.password) == ("user@x", "p/w")


def test_which_messages_a_channel_accepts() -> None:
    blogs = channel(apps=("blog-*",), least="page")

    assert blogs.accepts("blog-1", "page")
    assert not blogs.accepts("blog-1", "warn")
    assert not blogs.accepts("shop", "page")
    assert blogs.accepts("-", "page")
