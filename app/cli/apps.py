"""`dynometer apps`: lists the apps that sent data, and removes apps.

It works on the store, so it needs no address of a service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from app.access.app_removal import AppRemoval
from app.cli.arguments import app_name
from app.cli.open_store import open_store
from app.cli.output import format_minute, print_err, print_table
from app.config import Settings
from app.service.archive_extra import open_archived_apps
from app.service.wiring import build_app_removal
from app.storage.interface.apps import Origin, SeenApp
from app.storage.interface.errors import HistoryUnavailable
from app.storage.interface.store import Store
from app.support.about import command
from app.traffic.sent_lines import forget_sent_lines

_ARCHIVE = Origin("archive", notifies=False)
Action = Callable[[Store, argparse.Namespace, Settings], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands list and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("list", help="list apps, and where their lines come from")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(action=_list)
    remove = actions.add_parser(
        "remove", help="remove apps: drain secrets, data, alerts and archive"
    )
    remove.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    remove.set_defaults(action=_remove)


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
        return await action(store, arguments, settings)


async def _list(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    apps = await store.seen_apps()
    apps += await _find_former_apps({seen_app.app for seen_app in apps}, settings)
    if arguments.json:
        print(json.dumps([_public_fields(app) for app in apps], indent=2))
    elif not apps:
        print_err("No app has sent data yet.")
    else:
        print_table(
            ("APP", "LINES FROM", "ALERTS", "FIRST SEEN (UTC)", "LAST SEEN (UTC)"),
            [
                (
                    seen_app.app,
                    seen_app.origin.kind,
                    "sent" if seen_app.origin.notifies else "not sent",
                    format_minute(seen_app.first_seen_s),
                    format_minute(seen_app.last_seen_s),
                )
                for seen_app in apps
            ],
        )
    return 0


async def _find_former_apps(present_apps: Collection[str], settings: Settings) -> list[SeenApp]:
    """The apps that only the archive knows."""
    async with open_archived_apps(settings) as archive:
        if archive is None:
            return []
        try:
            archived_apps = await archive.latest()
        except HistoryUnavailable as error:
            print_err(str(error))
            return []
    return [app._replace(origin=_ARCHIVE) for app in archived_apps if app.app not in present_apps]


def _public_fields(seen_app: SeenApp) -> dict[str, object]:
    return {
        "app": seen_app.app,
        "origin": seen_app.origin.kind,
        "notifies": seen_app.origin.notifies,
        "first_seen": seen_app.first_seen_s,
        "last_seen": seen_app.last_seen_s,
    }


async def _remove(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_archived_apps(settings) as archive:
        removal = build_app_removal(settings, store, time.time, archive)
        return await _remove_apps(removal, arguments, settings)


async def _remove_apps(
    removal: AppRemoval, arguments: argparse.Namespace, settings: Settings
) -> int:
    apps = list(dict.fromkeys(arguments.apps))
    if unknown := await removal.unknown_apps(apps):
        print_err(
            f"{', '.join(unknown)}: no such app. Nothing was changed. "
            f"List them: {command()} apps list"
        )
        return 2
    if not arguments.yes and not _confirm(apps):
        print_err("Nothing was changed. Add --yes to remove without confirmation.")
        return 2
    for app in apps:
        await _remove_app(removal, app, settings)
    return 0


async def _remove_app(removal: AppRemoval, app: str, settings: Settings) -> None:
    heroku_commands = await removal.remove(app)
    forget_sent_lines(settings.data_dir / "replay", app)
    print_err(f"{app}: removed.")
    if heroku_commands:
        print_err("  Remove the drain at Heroku too:")
        for line in heroku_commands:
            print_err(f"    {line}")


def _confirm(apps: Sequence[str]) -> bool:
    print_err(
        f"{', '.join(apps)}: all figures, events and alerts will be deleted, "
        "also from the archive. A drain with a "
        "secret is rejected afterwards; in local mode, new lines bring the app back. "
        "This cannot be undone."
    )
    if not sys.stdin.isatty():
        return False
    print_err("Remove? Type yes:")
    return sys.stdin.readline().strip() == "yes"
