"""`dynometer alerts channel`: manages the channels that receive notifications."""

from __future__ import annotations

import argparse
import sys
import time

from app.alerting.admin import AlertAdmin
from app.alerting.channels.channel import Channel
from app.alerting.channels.kind import ChannelField, ChannelKind
from app.alerting.channels.kinds import KINDS, masked_address, option_fields
from app.alerting.wording import utc_time
from app.cli.output import print_err
from app.support.about import command


def add_channel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a channel for notifications")
    kinds = add.add_subparsers(metavar="KIND", required=True)
    for kind in KINDS.values():
        parser_of_kind = kinds.add_parser(kind.name, help=kind.help)
        for field in kind.fields:
            _add_field(parser_of_kind, field)
        _add_common_arguments(parser_of_kind, kind)
    show = actions.add_parser("list", help="list channels, without their secrets")
    show.set_defaults(action=_list)
    remove = actions.add_parser("remove", help="remove channels; they receive nothing more")
    remove.add_argument("names", metavar="CHANNEL", nargs="+")
    remove.set_defaults(action=_remove)


def _add_field(parser: argparse.ArgumentParser, field: ChannelField) -> None:
    if field.flag:
        parser.add_argument(
            field.flag,
            dest=field.name,
            metavar=field.metavar,
            required=field.is_required,
            default="",
            help=field.help,
        )
    else:
        count = "+" if field.is_list else None
        parser.add_argument(field.name, metavar=field.metavar, nargs=count, help=field.help)


def _add_common_arguments(parser: argparse.ArgumentParser, kind: ChannelKind) -> None:
    parser.add_argument(
        "--name", default=kind.name, help=f"name of the channel (default: {kind.name})"
    )
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
    kind: ChannelKind = arguments.kind
    values = {field.name: getattr(arguments, field.name) for field in kind.fields}
    values |= {field.name: tuple(values[field.name]) for field in kind.fields if field.is_list}
    if values["url"] == "-":
        values["url"] = sys.stdin.readline().strip()
    options = {name: values.pop(name) for name in option_fields(kind)}
    channel = await admin.add_channel(
        Channel(
            name=arguments.name,
            kind=kind.name,
            added_s=int(time.time()),
            apps=tuple(arguments.app or ["*"]),
            least=arguments.least,
            options={name: value for name, value in options.items() if value},
            **values,
        )
    )
    if channel.key:
        print(channel.key)
        print_err("This key signs its notifications. Copy it now; it won't be shown again.")
    print_err(
        f"Channel {channel.name} added ({masked_address(channel)}). Try it: {command()} alerts test"
    )
    return 0


async def _list(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    channels = (await admin.overview()).channels
    now_s = time.time()
    for state in channels:
        channel, health, queued_messages = state
        delivery = utc_time(health.last_ok_s, now_s) if health.last_ok_s else "never"
        print(f"{channel.name}  {channel.kind}  {state.masked_address}  last delivery: {delivery}")
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
