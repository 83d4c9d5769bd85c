"""`dynometer tokens`: manages read tokens.

It works on the store, so it needs no address of a service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from app.access.access_notes import loss_notice
from app.access.read_tokens import (
    NAME_LENGTH_MAX,
    ReadToken,
    new_token,
    pack_token,
    public_fields,
    unpack_token,
)
from app.cli.arguments import app_glob, duration
from app.cli.open_store import open_store
from app.cli.output import format_minute, print_err
from app.config import Settings
from app.storage.interface.access import AccessStore, TokenStore
from app.support.about import command

Action = Callable[[TokenStore, argparse.Namespace], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="create a token and print it; it is shown only once")
    add.add_argument(
        "--app",
        action="append",
        default=[],
        type=app_glob,
        metavar="APP",
        help="an app that the token may read; repeatable, * and ? are wildcards "
        "(default: every app)",
    )
    add.add_argument(
        "--expires",
        type=duration,
        default=0,
        metavar="30d",
        help="lifetime, such as 30d or 12h (default: never expires)",
    )
    add.add_argument("--name", type=_token_name, default="", help="the token's purpose")
    add.set_defaults(action=_add)
    show = actions.add_parser("list", help="list tokens, without their secrets")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(action=_list)
    remove = actions.add_parser("remove", help="revoke tokens; takes effect within 5 seconds")
    remove.add_argument("ids", metavar="ID", nargs="+")
    remove.set_defaults(action=_remove)


def _token_name(text: str) -> str:
    if not text.isprintable() or len(text) > NAME_LENGTH_MAX:
        raise argparse.ArgumentTypeError(f"expected at most {NAME_LENGTH_MAX} printable characters")
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the subcommand.

    Raises:
        ConfigError: there is no store.
        StoreUnavailable: the store does not answer.
    """
    return asyncio.run(_run_action(arguments, settings))


async def _run_action(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(store, arguments)


async def _add(store: TokenStore, arguments: argparse.Namespace) -> int:
    now_s = int(time.time())
    expires_s = now_s + arguments.expires if arguments.expires else 0
    token, token_id, record = new_token(arguments.name, arguments.app or ["*"], now_s, expires_s)
    await store.put_token(token_id, pack_token(record))
    print(token)
    until = f" until {format_minute(expires_s)} UTC" if expires_s else ""
    print_err(f"Reads {_apps(record)}{until}. Copy it now; it won't be shown again.")
    print_err("Send it as Authorization: Bearer TOKEN, or as the password of Basic auth.")
    print_err(f"To revoke it: {command()} tokens remove {token_id}")
    return 0


async def _list(store: TokenStore, arguments: argparse.Namespace) -> int:
    tokens = {key: unpack_token(data) for key, data in sorted((await store.tokens()).items())}
    if arguments.json:
        print(json.dumps([public_fields(key, token) for key, token in tokens.items()], indent=2))
        return 0
    if not tokens:
        print_err(f"No tokens yet. Add one: {command()} tokens add --app APP")
        return 0
    print(f"{'ID':<8}  {'ADDED (UTC)':<16}  {'EXPIRES (UTC)':<16}  READS")
    for key, token in tokens.items():
        name = f"  ({token.name})" if token.name else ""
        dates = (format_minute(at_s) for at_s in (token.added_s, token.expires_s))
        print("  ".join([key, *(f"{date:<16}" for date in dates), _apps(token) + name]))
    return 0


async def _remove(store: AccessStore, arguments: argparse.Namespace) -> int:
    if notice := await loss_notice(store):
        print_err(f"{notice} Nothing was changed.")
        return 2
    tokens = await store.tokens()
    if unknown := [token_id for token_id in arguments.ids if token_id not in tokens]:
        print_err(
            f"No such token: {', '.join(unknown)}. Nothing was changed. "
            f"List them: {command()} tokens list"
        )
        return 2
    for token_id in arguments.ids:
        await store.remove_token(token_id)
        print_err(f"{token_id}: revoked. Takes effect within 5 seconds.")
    return 0


def _apps(token: ReadToken) -> str:
    return "every app" if token.apps == ("*",) else ", ".join(token.apps)
