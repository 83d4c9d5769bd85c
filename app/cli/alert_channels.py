"""`dynometer alerts channel`: manages the channels that receive notifications."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from app.alerting.admin import AlertAdmin
from app.alerting.channels.channel import Channel
from app.alerting.wording import utc_time
from app.cli.output import print_err
from app.support.about import command


def add_channel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a channel for notifications")
    kinds = add.add_subparsers(metavar="KIND", required=True)
    for kind, help_text in (
        ("slack", "a Slack-compatible webhook: Slack, Mattermost, Rocket.Chat, Discord (…/slack)"),
        ("webhook", "a POST of signed JSON"),
    ):
        webhook = kinds.add_parser(kind, help=help_text)
        webhook.add_argument(
            "url", metavar="URL", help="https://…; - to read it from standard input"
        )
        _add_common_arguments(webhook, kind)
    email = kinds.add_parser("email", help="e-mail through a mail server")
    email.add_argument("to", metavar="ADDRESS", nargs="+", help="a recipient")
    email.add_argument(
        "--smtp",
        dest="url",
        required=True,
        metavar="URL",
        help="smtp://USER:PASSWORD@HOST:PORT or smtps://…; - to read it from standard input",
    )
    email.add_argument(
        "--from", dest="sender", default="", help="sender address (default: the first ADDRESS)"
    )
    _add_common_arguments(email, "email")
    show = actions.add_parser("list", help="list channels, without their secrets")
    show.set_defaults(action=_list)
    remove = actions.add_parser("remove", help="remove channels; they receive nothing more")
    remove.add_argument("names", metavar="CHANNEL", nargs="+")
    remove.set_defaults(action=_remove)


def _add_common_arguments(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--name", default=kind, help=f"name of the channel (default: {kind})")
    parser.add_argument(
        "--app",
        action="append",
        metavar="APP",
        help="notify only about this app; repeatable, * and ? are wildcards (default: every app)",
    )
    parser.add_argument(
        "--least",
        choices=("warn", "page"),
        default="warn",
        help="lowest severity to notify about (default: warn)",
    )
    parser.set_defaults(action=_add, kind=kind)


async def _add(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    url = sys.stdin.readline().strip() if arguments.url == "-" else arguments.url
    email_fields: dict[str, Any] = {}
    if arguments.kind == "email":
        email_fields = {"to": tuple(arguments.to), "sender": arguments.sender or arguments.to[0]}
    channel = await admin.add_channel(
        Channel(
            name=arguments.name,
            kind=arguments.kind,
            url=url,
            added_s=int(time.time()),
            apps=tuple(arguments.app or ["*"]),
            least=arguments.least,
            **email_fields,
        )
    )
    if channel.key:
        print(channel.key)
        print_err("This key signs its notifications. Copy it now; it won't be shown again.")
    print_err(
        f"Channel {channel.name} added ({channel.masked_address}). Try it: {command()} alerts test"
    )
    return 0


async def _list(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    channels = (await admin.overview()).channels
    now_s = time.time()
    for channel, health, queued_messages in channels:
        delivery = utc_time(health.last_ok_s, now_s) if health.last_ok_s else "never"
        print(
            f"{channel.name}  {channel.kind}  {channel.masked_address}  last delivery: {delivery}"
        )
        if health.failing_since_s:
            print(f"  failing since {utc_time(health.failing_since_s, now_s)}: {health.error}")
        if queued_messages:
            print(f"  {queued_messages} queued")
    if not channels:
        print_err(f"No channel yet. Add one: {command()} alerts channel add slack https://…")
    return 0


async def _remove(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        await admin.remove_channel(name)
        print_err(f"Channel {name} removed. Takes effect within 5 seconds.")
    return 0
