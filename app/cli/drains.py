"""`dynometer drains`: manages which apps may send.

It works on the store, so it needs no address of a service. stdout carries only commands to run or
data for programs; messages for people go to stderr. So `dynometer drains add APP | sh` also
registers the drain at Heroku.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from app.access.access_notes import loss_notice
from app.access.drain_admin import DrainAdmin
from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.access.drain_secrets import DRAIN_TOKEN, decode
from app.access.drain_status import DrainStatus, drain_statuses, second_drains
from app.access.rejected_logins import RejectedLogin, recent_rejected_logins
from app.cli.arguments import app_name
from app.cli.open_store import open_store
from app.cli.output import format_minute, print_err, print_table
from app.cli.syslog import add_syslog_drains
from app.config import ConfigError, Settings
from app.storage.interface.access import AccessStore
from app.storage.interface.store import Store
from app.support.about import command

_LIST = f"{command()} drains list"

Action = Callable[[Store, argparse.Namespace, Settings], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands add, allow, disallow, link, unlink, list, rotate and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="create a drain secret; print the command for Heroku")
    add.add_argument("apps", metavar="APP", nargs="*", type=app_name)
    add.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        type=argparse.FileType("r", encoding="utf-8"),
        help="names, one per line, or the output of 'heroku apps --json'; - for standard input. "
        "Apps that already have a drain are skipped",
    )
    add.add_argument(
        "--syslog",
        action="store_true",
        help="add drains over syslog instead of https: print the command, wait for the drain's "
        "token, and link it",
    )
    add.add_argument(
        "--wait",
        type=float,
        default=300,
        metavar="SECONDS",
        help="with --syslog: how long to wait for a token (default: 300)",
    )
    add.add_argument(
        "--space",
        metavar="SPACE",
        type=app_name,
        help="add one drain for a Private Space or Shield space, which delivers the lines of these "
        "apps; HOSTNAME tells them apart",
    )
    add.set_defaults(action=_add)
    for name, change, help_text in (
        ("allow", DrainAdmin.allow, "let the drain of a space deliver the lines of more apps"),
        ("disallow", DrainAdmin.disallow, "no longer count lines of these apps from a space"),
    ):
        space = actions.add_parser(name, help=help_text)
        space.add_argument("space", metavar="SPACE", type=app_name)
        space.add_argument("apps", metavar="APP", nargs="+", type=app_name)
        space.set_defaults(action=_change_space, change=change)
    for name, action, help_text in (
        ("link", _link, "let a drain token send for an app over syslog"),
        ("unlink", _unlink, "revoke a link"),
    ):
        link = actions.add_parser(name, help=help_text)
        link.add_argument("app", metavar="APP", type=app_name)
        link.add_argument("token", metavar="TOKEN", type=_drain_token)
        link.set_defaults(action=action)
    show = actions.add_parser("list", help="list apps, their drains, and rejected logins")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(action=_list)
    rotate = actions.add_parser(
        "rotate", help="replace a drain and its secret by a new one, without a gap"
    )
    rotate.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    rotate.add_argument(
        "--at-once",
        action="store_true",
        help="revoke the old secret immediately, for a secret that has leaked; lines that are "
        "still sent with it are rejected",
    )
    rotate.set_defaults(action=_rotate)
    remove = actions.add_parser("remove", help="delete drain secrets: these apps may not send")
    remove.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    remove.set_defaults(action=_remove)


def _drain_token(text: str) -> str:
    if not DRAIN_TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a drain token (d.…, see heroku drains) or a host name"
        )
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the subcommand.

    Raises:
        ConfigError: there is no store, or an argument cannot be used.
        DrainAdminError: the change is not possible in the present state.
        StoreUnavailable: the store does not answer.
    """
    return asyncio.run(_run_action(arguments, settings))


async def _run_action(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(store, arguments, settings)


def _drain_admin(store: AccessStore, settings: Settings) -> DrainAdmin:
    return DrainAdmin(store, time.time, settings.public_url, settings.secret_key)


async def _add(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    argument_apps = list(dict.fromkeys(arguments.apps))
    file_apps = app_names(arguments.source.read()) if arguments.source else []
    apps = list(dict.fromkeys([*argument_apps, *file_apps]))
    if not apps:
        raise ConfigError(f"no app is named: {command()} drains add APP …, or --from FILE")
    if arguments.syslog and arguments.space:
        raise ConfigError("the drain of a space uses https: leave out --syslog")
    if arguments.syslog:
        return await add_syslog_drains(store, settings, apps, wait_s=arguments.wait)
    admin = _drain_admin(store, settings)
    if arguments.space:
        print((await admin.add(arguments.space, space_apps=apps)).add)
        print_err(f"Lines whose HOSTNAME names none of these apps are shown by: {_LIST}")
        return 0
    await admin.ensure_unregistered(argument_apps)
    records = await store.drains()
    skipped_apps = [app for app in file_apps if app in records and decode(records[app]).secrets]
    if settings.local_mode:
        print_err(
            "Note: DYNOMETER_ADMIN_TOKEN is not set here. "
            "A service without it answers this machine only."
        )
    for app in apps:
        if app not in skipped_apps:
            # Flushed for each app: the secret in it is stored nowhere else.
            print((await admin.add(app)).add, flush=True)
    if skipped_apps:
        print_err(f"Skipped (already has a drain): {', '.join(skipped_apps)}")
    return 0


async def _change_space(
    store: AccessStore, arguments: argparse.Namespace, settings: Settings
) -> int:
    await arguments.change(_drain_admin(store, settings), arguments.space, arguments.apps)
    print_err(f"{arguments.space}: changed. Takes effect within 5 seconds.")
    return 0


async def _link(store: AccessStore, arguments: argparse.Namespace, settings: Settings) -> int:
    await _drain_admin(store, settings).link(arguments.app, arguments.token)
    print_err(f"{arguments.app}: linked to {arguments.token}. Takes effect within 5 seconds.")
    return 0


async def _unlink(store: AccessStore, arguments: argparse.Namespace, settings: Settings) -> int:
    await _drain_admin(store, settings).unlink(arguments.app, arguments.token)
    print_err(f"{arguments.app}: unlinked from {arguments.token}. Takes effect within 5 seconds.")
    return 0


def app_names(text: str) -> list[str]:
    """The names in the output of `heroku apps --json`, or in a list with one per line.

    Raises:
        ConfigError: the text has neither form.
    """
    if text.lstrip().startswith("["):
        try:
            names = [
                entry if isinstance(entry, str) else entry["name"] for entry in json.loads(text)
            ]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                "cannot use this JSON: expected the output of 'heroku apps --json', [{\"name\": …}]"
            ) from None
    else:
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        names = [line for line in lines if line]
    for name in names:
        if not isinstance(name, str) or not valid_app(name):
            raise ConfigError(f"{name!r} is not an app's name: {APP_NAME_RULE}")
    return list(dict.fromkeys(names))


async def _rotate(store: AccessStore, arguments: argparse.Namespace, settings: Settings) -> int:
    admin = _drain_admin(store, settings)
    for app in dict.fromkeys(arguments.apps):
        commands = await admin.rotate(app, at_once=arguments.at_once)
        print(commands.add, flush=True)
        removal = commands.remove or _removal_hint(app)
        if arguments.at_once:
            print_err(
                f"{app}: the old secret ends within 5 seconds; lines sent with it are rejected."
            )
            print_err(f"  Then remove the old drain: {removal}")
        else:
            print_err(
                f"{app}: run that command. When the new drain first delivers, it takes over at the "
                "next full minute. Nothing is lost or counted twice."
            )
            print_err(
                f"  Some minutes later, when '{command()} drains list' shows it as the active "
                f"drain, remove the old one: {removal}"
            )
            print_err("  The old secret expires by itself a day later.")
    return 0


def _removal_hint(app: str) -> str:
    return f"find it with heroku drains -a {app}, then heroku drains:remove URL_OR_TOKEN -a {app}"


async def _list(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    statuses = await drain_statuses(store)
    logins = await recent_rejected_logins(store)
    if arguments.json:
        print(json.dumps(_json_of(statuses, logins), indent=2))
        return 0
    if statuses:
        print_table(
            ("APP", "MAY SEND", "ACTIVE DRAIN", "LAST SEEN (UTC)"),
            [
                (
                    drain.app,
                    _may_send(drain),
                    drain.active_token or "-",
                    format_minute(drain.last_seen_s),
                )
                for drain in statuses
            ],
        )
    else:
        print_err(f"No apps yet. Add one: {command()} drains add APP")
    if statuses and settings.local_mode:
        print_err("Note: in local mode, every app on this machine may send.")
    if notice := await loss_notice(store):
        print_err(notice)
    for drain in second_drains(statuses, time.time()):
        print(f"\n{drain.second_drain_notice}")
    for drain in statuses:
        if drain.is_rotating:
            print(
                f"\n{drain.app}: its new secret is not in use yet; "
                "the old one is valid until the new drain delivers."
            )
    if logins:
        print("\nRejected logins, latest first:")
        print_table(
            ("USER", "DRAIN", "WHY", "TIMES", "LAST (UTC)"),
            [
                (
                    login.user or "(not an app's name)",
                    login.token or "-",
                    login.reason,
                    str(login.count),
                    format_minute(login.last_s),
                )
                for login in logins
            ],
        )
    if any(login.is_unlisted for login in logins):
        print(
            f"\nLines of a space that belong to no app: link their HOSTNAME (column DRAIN) with "
            f"{command()} drains link APP HOSTNAME, or run {command()} drains allow SPACE APP"
        )
    return 0


def _json_of(statuses: Sequence[DrainStatus], logins: Sequence[RejectedLogin]) -> dict[str, object]:
    doubled_apps = {drain.app for drain in second_drains(statuses, time.time())}
    return {
        "drains": [
            {
                "app": drain.app,
                "may_send": bool(drain.secrets or drain.links),
                "links": drain.links,
                "secrets": len(drain.secrets),
                "space_apps": drain.space_apps,
                "last_seen": drain.last_seen_s or None,
                "active_drain": drain.active_token or None,
                "other_drain": drain.other_token if drain.app in doubled_apps else None,
                "remove_other": drain.remove_other if drain.app in doubled_apps else None,
            }
            for drain in statuses
        ],
        "refusals": [msgspec.structs.asdict(login) for login in logins],
    }


def _may_send(drain: DrainStatus) -> str:
    https = {0: "", 1: "https"}.get(len(drain.secrets), f"https, {len(drain.secrets)} secrets")
    ways = " + ".join(way for way in (https, "syslog" if drain.links else "") if way) or "no"
    return f"{ways}, for {', '.join(drain.space_apps)}" if drain.space_apps else ways


async def _remove(store: AccessStore, arguments: argparse.Namespace, settings: Settings) -> int:
    apps = list(dict.fromkeys(arguments.apps))
    records = await store.drains()
    unknown = [app for app in apps if app not in records]
    if unknown:
        print_err(
            f"{', '.join(unknown)}: has no drain. Nothing was changed. "
            f"List them: {command()} drains list"
        )
        return 2
    if not arguments.yes and not _confirm_removal(apps):
        print_err("Nothing was changed. Add --yes to remove without confirmation.")
        return 2
    admin = _drain_admin(store, settings)
    for app in apps:
        commands = await admin.remove(app)
        print_err(f"{app}: removed. Its lines are rejected within 5 seconds.")
        print_err("  Remove the drain at Heroku too:")
        for line in commands or [_removal_hint(app)]:
            print_err(f"    {line}")
    return 0


def _confirm_removal(apps: Sequence[str]) -> bool:
    print_err(
        f"{', '.join(apps)}: new log lines will be rejected, and Heroku drops rejected lines. "
        "Existing counts stay until their retention ends."
    )
    if not sys.stdin.isatty():
        return False
    print_err("Remove? Type yes:")
    return sys.stdin.readline().strip() == "yes"
