"""`dynometer alerts channel`: where messages go."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from app.alerting.admin import AlertAdmin
from app.alerting.channels.channel import Channel
from app.alerting.wording import utc_time
from app.support.about import command


def add_channel_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="tell a channel from now on")
    kinds = adding.add_subparsers(metavar="KIND", required=True)
    for kind, words in (
        ("slack", "a Slack-compatible webhook: Slack, Mattermost, Rocket.Chat, Discord (…/slack)"),
        ("webhook", "JSON, signed"),
    ):
        hook = kinds.add_parser(kind, help=words)
        hook.add_argument("url", metavar="URL", help="https://…; - to read it from standard input")
        _common(hook, kind)
    mail = kinds.add_parser("email", help="e-mail through a mail server")
    mail.add_argument("to", metavar="ADDRESS", nargs="+", help="who gets it")
    mail.add_argument(
        "--smtp",
        dest="url",
        required=True,
        metavar="URL",
        help="smtp://USER:PASSWORD@HOST:PORT or smtps://…; - to read it from standard input",
    )
    mail.add_argument("--from", dest="sender", default="", help="default: the first ADDRESS")
    _common(mail, "email")
    listing = actions.add_parser("list", help="channels, without what opens them")
    listing.set_defaults(action=_list)
    removing = actions.add_parser("remove", help="tell a channel nothing any more")
    removing.add_argument("names", metavar="CHANNEL", nargs="+")
    removing.set_defaults(action=_remove)


def _common(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--name", default=kind, help=f"default: {kind}")
    parser.add_argument("--app", action="append", metavar="APP", help="only of these; repeats, * ?")
    parser.add_argument(
        "--least", choices=("warn", "page"), default="warn", help="page: only what is urgent"
    )
    parser.set_defaults(action=_add, kind=kind)


async def _add(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    url = sys.stdin.readline().strip() if arguments.url == "-" else arguments.url
    more: dict[str, Any] = {}
    if arguments.kind == "email":
        more = {"to": tuple(arguments.to), "sender": arguments.sender or arguments.to[0]}
    given = Channel(
        name=arguments.name,
        kind=arguments.kind,
        url=url,
        added_s=int(time.time()),
        apps=tuple(arguments.app or ["*"]),
        least=arguments.least,
        **more,
    )
    channel = await desk.add_channel(given)
    if channel.key:
        print(channel.key)
        _say("That is the key its messages are signed with. It is shown only now.")
    address = channel.masked_address
    _say(f"{channel.name}: {address} is told from now on. Try it: {command()} alerts test")
    return 0


async def _list(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    found = (await desk.overview()).channels
    now_s = time.time()
    for channel, health, waiting in found:
        last = utc_time(health.last_ok_s, now_s) if health.last_ok_s else "never"
        print(f"{channel.name}  {channel.kind}  {channel.masked_address}  last taken: {last}")
        if health.failing_since_s:
            print(f"  fails since {utc_time(health.failing_since_s, now_s)}: {health.error}")
        if waiting:
            print(f"  {waiting} waiting")
    if not found:
        _say(f"no channel yet: {command()} alerts channel add slack https://…")
    return 0


async def _remove(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        await desk.remove_channel(name)
        _say(f"{name}: told nothing any more within 5 seconds.")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)
