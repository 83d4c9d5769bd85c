"""`dynometer drains`: which apps may send. Works on the store, so it needs no address of a service.

stdout carries only what a program can run or read; what is said to a person goes to stderr. So
`dynometer drains add APP | sh` registers the drain at Heroku at once.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from app import embedded
from app.config import ConfigError, Settings
from app.drains import hash_secret
from app.launcher import command
from app.registry import APP_NAME_RULE, valid_app
from app.store.port import Store
from app.store.redis import connect

SECRET_BYTES = 32  # 256 bits, as 43 of [A-Za-z0-9_-]: Logplex takes no ":" or escapes in a password

_PUBLIC_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?)")

Action = Callable[[Store, argparse.Namespace, Settings], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands add, list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="create a drain secret; print what to run at Heroku")
    adding.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    adding.add_argument(
        "--replace", action="store_true", help="give a new secret to apps that have one already"
    )
    adding.set_defaults(action=_add)
    listing = actions.add_parser(
        "list", help="list apps, their drains and when they were last seen"
    )
    listing.set_defaults(action=_list)
    removing = actions.add_parser("remove", help="forget drain secrets: these apps may not send")
    removing.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    removing.add_argument("--yes", action="store_true", help="do not ask")
    removing.set_defaults(action=_remove)


def app_name(text: str) -> str:
    """For argparse: an app's name."""
    if not valid_app(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an app's name: {APP_NAME_RULE}")
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: no store is known, or DYNOMETER_PUBLIC_URL is missing.
        StoreUnavailable: the store is away.
    """
    return asyncio.run(_with_store(arguments, settings))


async def _with_store(arguments: argparse.Namespace, settings: Settings) -> int:
    url = settings.redis_url or embedded.running(settings.data_dir)
    if url is None:
        raise ConfigError(
            f"no store: start the service ({command()} serve) with DYNOMETER_DATA_DIR="
            f"{settings.data_dir}, or set REDIS_URL to the one it uses"
        )
    store = connect(url)
    try:
        action: Action = arguments.action
        return await action(store, arguments, settings)
    finally:
        await store.close()


async def _add(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    scheme, address = _public_address(settings)
    apps = list(dict.fromkeys(arguments.apps))
    registered = await store.drains()
    taken = [app for app in apps if app in registered]
    if taken and not arguments.replace:
        _say(
            f"{', '.join(taken)}: has a drain already; nothing was changed. "
            "Add --replace for a new secret, which ends the old one."
        )
        return 2
    if settings.local_mode:
        _say(
            "note: DYNOMETER_ADMIN_TOKEN is not set here; "
            "a service without it answers this machine only."
        )
    for app in apps:
        secret = secrets.token_urlsafe(SECRET_BYTES)
        await store.put_drain(app, hash_secret(secret))
        print(f'heroku drains:add "{scheme}://{app}:{secret}@{address}/drain" -a {app}', flush=True)
    for app in taken:
        _say(f"{app}: the old secret ends within seconds. {_removal_at_heroku(app)}")
    return 0


def _public_address(settings: Settings) -> tuple[str, str]:
    """(scheme, the rest) of DYNOMETER_PUBLIC_URL."""
    if not settings.public_url:
        raise ConfigError(
            "DYNOMETER_PUBLIC_URL is not set: set it to the address at which Heroku reaches the "
            "service, as in export DYNOMETER_PUBLIC_URL=https://metrics.example.com"
        )
    match = _PUBLIC_URL.fullmatch(settings.public_url)
    if match is None:
        raise ConfigError(
            "DYNOMETER_PUBLIC_URL cannot be used for a drain: expected https://HOST, "
            "without credentials, query or fragment"
        )
    return match[1], match[2].rstrip("/")


async def _list(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    registered = await store.drains()
    last_seen = {seen.app: seen.last_seen_s for seen in await store.seen_apps()}
    apps = sorted({*registered, *last_seen})
    if not apps:
        _say("no apps yet: dynometer drains add APP")
        return 0
    width = max(len("APP"), *(len(app) for app in apps))
    print(f"{'APP':<{width}}  DRAIN  LAST SEEN (UTC)")
    for app in apps:
        drain = "yes" if app in registered else "no"
        print(f"{app:<{width}}  {drain:<5}  {_minute(last_seen.get(app, 0))}")
    return 0


def _minute(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}" if at_s else "never"


async def _remove(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    apps = list(dict.fromkeys(arguments.apps))
    registered = await store.drains()
    unknown = [app for app in apps if app not in registered]
    if unknown:
        _say(f"{', '.join(unknown)}: has no drain; nothing was changed. See: dynometer drains list")
        return 2
    if not arguments.yes and not _confirmed(apps):
        _say("nothing was changed; add --yes to remove without being asked.")
        return 2
    for app in apps:
        await store.remove_drain(app)
        _say(f"{app}: removed. {_removal_at_heroku(app)}")
    return 0


def _confirmed(apps: list[str]) -> bool:
    if not sys.stdin.isatty():
        return False
    _say(f"Remove the drain of {', '.join(apps)}? Type yes:")
    return sys.stdin.readline().strip() == "yes"


def _removal_at_heroku(app: str) -> str:
    """Heroku keeps sending until its side is removed too; we keep no URL, so it is found there."""
    return (
        f"At Heroku, find the old drain with: heroku drains -a {app}\n"
        f"  and remove it with: heroku drains:remove URL_OR_TOKEN -a {app}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
