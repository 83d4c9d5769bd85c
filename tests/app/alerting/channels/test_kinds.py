"""The kinds of channels: validation, hidden addresses, compatibility, and one kind more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.alerting.channels.channel import Channel, ChannelError, pack_channel, unpack_channel
from app.alerting.channels.email import smtp_client
from app.alerting.channels.kinds import KINDS, complete_and_check, masked_address

ROOT = Path(__file__).parents[4]
SECRET = "https://hooks.example.com/services/T0/B0/SECRET"


def channel(**fields: Any) -> Channel:
    values = {"name": "ops", "kind": "slack", "url": SECRET, "added_s": 1, **fields}
    return complete_and_check(Channel(**values))


def mail(**fields: Any) -> Channel:
    defaults = {"url": "smtps://u:SECRET@mail.example.com", "to": ("a@example.com",)}
    return channel(kind="email", **{**defaults, **fields})


def test_the_masked_address_holds_no_secret() -> None:
    assert masked_address(channel()) == "https://hooks.example.com/…"
    assert masked_address(channel(url="http://127.0.0.1:9/SECRET")) == "http://127.0.0.1/…"
    assert masked_address(mail()) == "a@example.com through mail.example.com"


@pytest.mark.parametrize("kind", ["slack", "webhook"])
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
def test_an_invalid_address_is_rejected_without_repeating_it(kind: str, url: str) -> None:
    with pytest.raises(ChannelError) as error:
        channel(kind=kind, url=url)
    assert "SECRET" not in str(error.value)


def test_this_machine_needs_no_tls() -> None:
    assert channel(url="http://127.0.0.1:9/x").url


@pytest.mark.parametrize(
    "fields",
    [
        {"to": ()},
        {"to": ("a@example.com\r\nBcc: b@example.com",)},
        {"to": ("a",)},
        {"sender": "a"},
        {"url": "https://mail.example.com"},
    ],
)
def test_e_mail_needs_a_server_and_addresses(fields: dict[str, Any]) -> None:
    with pytest.raises(ChannelError):
        mail(**fields)


def test_the_first_recipient_is_the_sender_unless_another_is_given() -> None:
    assert mail().sender == "a@example.com"
    assert mail(sender="d@example.com").sender == "d@example.com"


async def test_the_parts_of_a_mail_server() -> None:
    client = smtp_client("smtp://user%40x:p%2Fw@mail.example.com")
    assert (client.hostname, client.port, client.use_tls) == ("mail.example.com", 587, False)
    client = smtp_client("smtps://mail.example.com:10465")
    assert (client.hostname, client.port, client.use_tls) == ("mail.example.com", 10465, True)


def test_only_a_webhook_gets_a_key_of_its_own() -> None:
    assert channel().key == mail().key == ""
    first, second = channel(kind="webhook").key, channel(kind="webhook").key
    assert len(first) == len(second) == 43
    assert first != second


def test_an_unknown_kind_and_an_unknown_option_are_rejected_with_those_that_exist() -> None:
    with pytest.raises(ChannelError, match="kind=pager: expected slack, webhook"):
        channel(kind="pager")
    with pytest.raises(ChannelError, match="options of slack: expected none, got priority"):
        channel(options={"priority": "high"})


def test_the_records_of_the_first_version_stay_as_they_were() -> None:
    """Its workers read these bytes, and this version reads theirs."""
    slack = b'{"name":"ops","kind":"slack","url":"https://h.example.com/x","added_s":1}'
    email = (
        b'{"name":"mail","kind":"email","url":"smtps://u:p@m.example.com","added_s":1,'
        b'"to":["a@example.com"],"sender":"d@example.com","apps":["shop*"],"least":"page"}'
    )
    webhook = (
        b'{"name":"hook","kind":"webhook","url":"https://h.example.com/x","added_s":1,"key":"KEY"}'
    )
    for record in (slack, email, webhook):
        stored_channel = unpack_channel(record)
        assert complete_and_check(stored_channel) == stored_channel
        assert pack_channel(stored_channel) == record


def test_the_docs_name_every_kind() -> None:
    alerts, cli, api = (
        (ROOT / "docs" / name).read_text() for name in ("alerts.md", "cli.md", "api.md")
    )
    listing = "\\|".join(KINDS)
    assert f"`channel add {listing}`" in cli
    for name in KINDS:
        assert f"alerts channel add {name} " in alerts
        assert f"`{name}`" in api


NEW_KIND = '''
import msgspec
from app.alerting.channels.http_post import (
    WEB_ADDRESS, check_web_address, mask_web_address, post_json
)
from app.alerting.channels.kind import ChannelField
from app.alerting.channels.kinds import KINDS

class Pager:
    """A pager."""

    name = "pager"
    help = "a pager"
    fields = (WEB_ADDRESS, ChannelField("tone", "TONE", "its sound", flag="--tone"))

    def complete(self, channel):
        return channel

    def check(self, channel):
        check_web_address(channel)

    def masked_address(self, channel):
        return mask_web_address(channel)

    async def deliver(self, channel, message, now_s):
        body = {"tone": channel.options["tone"], "page": message.title}
        await post_json(channel, msgspec.json.encode(body))

KINDS["pager"] = Pager()
'''
USE_OF_IT = """
import argparse, asyncio, contextlib, io, json
from app.alerting.admin import AlertAdmin
from app.alerting.channels.delivery import ChannelSender
from app.alerting.config import read_config
from app.alerting.notification import compose_test
from app.cli.alert_channels import add_channel_arguments
from app.rollup.resolutions import DAY_S
from app.storage.memory import MemoryStore
from app.web.api.alert_models import NewChannel
from tests.support.receivers import webhook
from tests.support.service import Clock, client_of

async def main():
    clock = Clock()
    store = MemoryStore(clock)
    parser = argparse.ArgumentParser()
    add_channel_arguments(parser)
    async with webhook() as hook, client_of(store, clock) as client:
        words = ["add", "pager", hook.url, "--tone", "loud", "--name", "by-command"]
        arguments = parser.parse_args(words)
        with contextlib.redirect_stderr(io.StringIO()):
            await arguments.action(AlertAdmin(store, clock, 90 * DAY_S), arguments)
        body = {"name": "by-api", "kind": "pager", "url": hook.url, "options": {"tone": "low"}}
        answer = await client.post("/api/v1/alerts/channels", json=body)
        bad = await client.post(
            "/api/v1/alerts/channels", json={**body, "name": "bad", "options": {}}
        )
        channels = (await read_config(store)).channels
        for channel in channels.values():
            await ChannelSender(clock).send(channel, compose_test(channel.name, 1))
        print(json.dumps({
            "statuses": [answer.status_code, bad.status_code],
            "problem": bad.json()["detail"],
            "received": [got.json for got in hook.received],
            "kinds": NewChannel.model_json_schema()["properties"]["kind"]["enum"],
            "options": NewChannel.model_json_schema()["properties"]["options"]["description"],
        }))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def outcome() -> Iterator[dict[str, Any]]:
    """What a process reports in which one more kind is in the list."""
    run = subprocess.run(
        [sys.executable, "-c", NEW_KIND + USE_OF_IT], cwd=ROOT, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    yield json.loads(run.stdout)


def test_one_kind_more_is_added_by_command_and_by_api_and_delivered(
    outcome: dict[str, Any],
) -> None:
    assert outcome["statuses"] == [201, 400]
    assert outcome["problem"] == "tone is missing: its sound"
    assert outcome["received"] == [
        {"tone": "loud", "page": "Dynometer: test of channel by-command"},
        {"tone": "low", "page": "Dynometer: test of channel by-api"},
    ]


def test_one_kind_more_is_in_the_reference_of_the_api(outcome: dict[str, Any]) -> None:
    assert outcome["kinds"] == [*KINDS, "pager"]
    assert "for pager, tone: its sound" in outcome["options"]
