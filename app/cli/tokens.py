"""`dynometer tokens`: who may read. Works on the store, so it needs no address of a service."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from app.access.read_tokens import (
    APP_GLOB,
    NAME_LENGTH_MAX,
    ReadToken,
    new_token,
    pack_token,
    public_fields,
    unpack_token,
)
from app.cli.open_store import open_store
from app.config import Settings
from app.storage.interface import Store
from app.support.about import command

_LIFETIME = re.compile(r"([0-9]{1,5})([hd])")
_UNIT_S = {"h": 3600, "d": 86_400}

Action = Callable[[Store, argparse.Namespace], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="make a token and print it; it is shown only then")
    adding.add_argument(
        "--app",
        action="append",
        default=[],
        type=_glob,
        metavar="APP",
        help="may be read; repeats, and may hold * and ?. Without it: every app",
    )
    adding.add_argument(
        "--expires", type=_lifetime, default=0, metavar="30d", help="for so long, as 30d or 12h"
    )
    adding.add_argument("--name", type=_name, default="", help="what it is for")
    adding.set_defaults(action=_add)
    listing = actions.add_parser("list", help="list tokens, without their secret part")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(action=_list)
    removing = actions.add_parser("remove", help="end tokens, everywhere within 5 seconds")
    removing.add_argument("ids", metavar="ID", nargs="+")
    removing.set_defaults(action=_remove)


def _glob(text: str) -> str:
    if not APP_GLOB.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no app's name or pattern, as shop or blog-*")
    return text


def _lifetime(text: str) -> int:
    match = _LIFETIME.fullmatch(text)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as 30d or 12h")
    return int(match[1]) * _UNIT_S[match[2]]


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > NAME_LENGTH_MAX:
        raise argparse.ArgumentTypeError(f"at most {NAME_LENGTH_MAX} printable characters")
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: no store is known.
        StoreUnavailable: the store is away.
    """
    return asyncio.run(_with_store(arguments, settings))


async def _with_store(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(store, arguments)


async def _add(store: Store, arguments: argparse.Namespace) -> int:
    now_s = int(time.time())
    expires_s = now_s + arguments.expires if arguments.expires else 0
    token, token_id, record = new_token(arguments.name, arguments.app or ["*"], now_s, expires_s)
    await store.put_token(token_id, pack_token(record))
    print(token)
    _say(f"Reads {_apps(record)}{_until(record)}. It is shown only now. Send it as")
    _say("  Authorization: Bearer TOKEN, or as the password of Basic auth with any user.")
    _say(f"To end it: {command()} tokens remove {token_id}")
    return 0


async def _list(store: Store, arguments: argparse.Namespace) -> int:
    tokens = {key: unpack_token(data) for key, data in sorted((await store.tokens()).items())}
    if arguments.json:
        print(json.dumps([public_fields(key, token) for key, token in tokens.items()], indent=2))
        return 0
    if not tokens:
        _say(f"no tokens yet: {command()} tokens add --app APP")
        return 0
    print(f"{'ID':<8}  {'ADDED (UTC)':<16}  {'EXPIRES (UTC)':<16}  READS")
    for key, token in tokens.items():
        named = f"  ({token.name})" if token.name else ""
        dates = (_minute(at_s, none="never") for at_s in (token.added_s, token.expires_s))
        print("  ".join([key, *(f"{date:<16}" for date in dates), _apps(token) + named]))
    return 0


async def _remove(store: Store, arguments: argparse.Namespace) -> int:
    known = await store.tokens()
    if unknown := [each for each in arguments.ids if each not in known]:
        _say(
            f"{', '.join(unknown)}: no such token; nothing was changed. See: dynometer tokens list"
        )
        return 2
    for token_id in arguments.ids:
        await store.remove_token(token_id)
        _say(f"{token_id}: ends within 5 seconds.")
    return 0


def _apps(token: ReadToken) -> str:
    return "every app" if token.apps == ("*",) else ", ".join(token.apps)


def _until(token: ReadToken) -> str:
    return f" until {_minute(token.expires_s, none='')} UTC" if token.expires_s else ""


def _minute(at_s: int, *, none: str) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}" if at_s else none


def _say(text: str) -> None:
    print(text, file=sys.stderr)
