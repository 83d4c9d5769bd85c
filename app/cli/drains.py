"""`dynometer drains`: which apps may send. Works on the store, so it needs no address of a service.

stdout carries only what a program can run or read; what is said to a person goes to stderr. So
`dynometer drains add APP | sh` registers the drain at Heroku at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import msgspec

from app.access.drain_admin import DrainAdmin, DrainCommands
from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.access.drain_secrets import DRAIN_TOKEN, decode
from app.access.drain_status import DrainStatus, drain_statuses, second_drains
from app.access.rejected_logins import RejectedLogin, recent_rejected_logins
from app.cli.open_store import open_store
from app.cli.syslog import adopt
from app.config import ConfigError, Settings
from app.storage.interface import Store
from app.support.about import command

Action = Callable[[Store, argparse.Namespace, Settings], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands add, list, rotate and remove."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="create a drain secret; print what to run at Heroku")
    adding.add_argument("apps", metavar="APP", nargs="*", type=app_name)
    adding.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        type=argparse.FileType("r", encoding="utf-8"),
        help="names, one a line, or the output of 'heroku apps --json'; - for standard input. "
        "Apps that have a drain already are passed over",
    )
    adding.add_argument(
        "--syslog",
        action="store_true",
        help="drains over syslog instead of https: prints what to run, waits, and links the token",
    )
    adding.add_argument("--wait", type=float, default=300, metavar="SECONDS", help="so long (300)")
    adding.set_defaults(action=_add)
    for name, action, help_text in (
        ("link", _link, "let a drain token speak for an app over syslog"),
        ("unlink", _unlink, "end that"),
    ):
        linking = actions.add_parser(name, help=help_text)
        linking.add_argument("app", metavar="APP", type=app_name)
        linking.add_argument("token", metavar="TOKEN", type=_token)
        linking.set_defaults(action=action)
    listing = actions.add_parser(
        "list", help="list apps, their drains, and log-ins that were refused"
    )
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(action=_list)
    rotating = actions.add_parser(
        "rotate", help="replace a drain and its secret by a new one, without a gap"
    )
    rotating.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    rotating.add_argument(
        "--at-once",
        action="store_true",
        help="the old secret ends now, for one that got known: what still comes with it is refused",
    )
    rotating.set_defaults(action=_rotate)
    removing = actions.add_parser("remove", help="forget drain secrets: these apps may not send")
    removing.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    removing.add_argument("--yes", action="store_true", help="do not ask")
    removing.set_defaults(action=_remove)


def app_name(text: str) -> str:
    """For argparse: an app's name."""
    if not valid_app(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an app's name: {APP_NAME_RULE}")
    return text


def _token(text: str) -> str:
    if not DRAIN_TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no drain token (d.…, see heroku drains) and no host's name"
        )
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: no store is known, or what was given cannot be used.
        EnrolmentError: this cannot be done as things are.
        StoreUnavailable: the store is away.
    """
    return asyncio.run(_with_store(arguments, settings))


async def _with_store(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(store, arguments, settings)


def _enrolment(store: Store, settings: Settings) -> DrainAdmin:
    return DrainAdmin(store, time.time, settings.public_url)


async def _add(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    named = list(dict.fromkeys(arguments.apps))
    listed = app_names(arguments.source.read()) if arguments.source else []
    if not named and not listed:
        raise ConfigError("which app? dynometer drains add APP …, or --from FILE")
    if arguments.syslog:
        return await adopt(store, settings, [*named, *listed], wait_s=arguments.wait)
    enrolment = _enrolment(store, settings)
    await enrolment.ensure_unregistered(named)
    registered = await store.drains()
    passed_over = [app for app in listed if app in registered and decode(registered[app]).secrets]
    if settings.local_mode:
        _say(
            "note: DYNOMETER_ADMIN_TOKEN is not set here; "
            "a service without it answers this machine only."
        )
    for app in dict.fromkeys([*named, *listed]):
        if app not in passed_over:
            _print_addition(await enrolment.add(app))
    if passed_over:
        _say(f"passed over, for they have a drain: {', '.join(passed_over)}")
    return 0


async def _link(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    await _enrolment(store, settings).link(arguments.app, arguments.token)
    _say(f"{arguments.app}: what {arguments.token} sends over syslog counts within 5 seconds.")
    return 0


async def _unlink(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    await _enrolment(store, settings).unlink(arguments.app, arguments.token)
    _say(f"{arguments.app}: what {arguments.token} sends is no longer taken within 5 seconds.")
    return 0


def _print_addition(enrolled: DrainCommands) -> None:
    print(enrolled.add, flush=True)  # at once: it is known nowhere else


def app_names(text: str) -> list[str]:
    """The names in the output of `heroku apps --json`, or in a list with one a line.

    Raises:
        ConfigError: it is neither.
    """
    if text.lstrip().startswith("["):
        try:
            names = [each if isinstance(each, str) else each["name"] for each in json.loads(text)]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                "this JSON cannot be used: expected that of 'heroku apps --json', [{\"name\": …}]"
            ) from None
    else:
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        names = [line for line in lines if line]
    for name in names:
        if not isinstance(name, str) or not valid_app(name):
            raise ConfigError(f"{name!r} is not an app's name: {APP_NAME_RULE}")
    return list(dict.fromkeys(names))


async def _rotate(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    enrolment = _enrolment(store, settings)
    for app in dict.fromkeys(arguments.apps):
        enrolled = await enrolment.rotate(app, at_once=arguments.at_once)
        _print_addition(enrolled)
        if arguments.at_once:
            _say(f"{app}: the old secret ends within 5 seconds; what comes with it is refused.")
            _say(f"  Then end the old drain: {_old_drain(enrolled)}")
        else:
            _say(
                f"{app}: run that command. When the new drain first delivers, it takes over at the "
                "next full minute, and nothing is lost or counted twice."
            )
            _say(
                "  Some minutes later, when 'dynometer drains list' shows it as the active one, "
                f"end the old drain: {_old_drain(enrolled)}"
            )
            _say("  The old secret ends by itself a day after.")
    return 0


def _old_drain(enrolled: DrainCommands) -> str:
    return enrolled.remove or _unknown_drain(enrolled.app)


def _unknown_drain(app: str) -> str:
    return f"heroku drains -a {app} lists it, heroku drains:remove URL_OR_TOKEN -a {app} ends it"


async def _list(store: Store, arguments: argparse.Namespace, settings: Settings) -> int:
    infos = await drain_statuses(store)
    refusals = await recent_rejected_logins(store)
    if arguments.json:
        print(json.dumps(_as_json(infos, refusals), indent=2))
        return 0
    if infos:
        _print_table(
            ("APP", "MAY SEND", "ACTIVE DRAIN", "LAST SEEN (UTC)"),
            [
                (info.app, _may_send(info), info.active_token or "-", _minute(info.last_seen_s))
                for info in infos
            ],
        )
    else:
        _say(f"no apps yet: {command()} drains add APP")
    if infos and settings.local_mode:
        _say("note: in local mode every app on this machine may send")
    for info in second_drains(infos, time.time()):
        print(f"\n{info.second_drain_notice}")
    for info in infos:
        if info.is_rotating:
            print(f"\n{info.app}: a new secret waits for its drain; until then the old one holds.")
    if refusals:
        print("\nRejected drain deliveries, newest first:")
        _print_table(
            ("USER", "DRAIN", "WHY", "TIMES", "LAST (UTC)"),
            [
                (
                    each.user or "(no app's name)",
                    each.token or "-",
                    each.reason,
                    str(each.count),
                    _minute(each.last_s),
                )
                for each in refusals
            ],
        )
    return 0


def _as_json(infos: Sequence[DrainStatus], refusals: Sequence[RejectedLogin]) -> dict[str, object]:
    doubled = {info.app for info in second_drains(infos, time.time())}
    return {
        "drains": [
            {
                "app": info.app,
                "may_send": bool(info.secrets or info.links),
                "links": info.links,
                "secrets": len(info.secrets),
                "last_seen": info.last_seen_s or None,
                "active_drain": info.active_token or None,
                "other_drain": info.other_token if info.app in doubled else None,
                "remove_other": info.remove_other if info.app in doubled else None,
            }
            for info in infos
        ],
        "refusals": [msgspec.structs.asdict(each) for each in refusals],
    }


def _may_send(info: DrainStatus) -> str:
    ways = {0: "", 1: "https"}.get(len(info.secrets), f"https, {len(info.secrets)} secrets")
    return " + ".join(way for way in (ways, "syslog" if info.links else "") if way) or "no"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


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
    enrolment = _enrolment(store, settings)
    for app in apps:
        commands = await enrolment.remove(app)
        _say(f"{app}: removed; within 5 seconds nothing of it is taken any more.")
        _say("  At Heroku too:")
        for each in commands or [_unknown_drain(app)]:
            _say(f"    {each}")
    return 0


def _confirmed(apps: Sequence[str]) -> bool:
    _say(
        f"{', '.join(apps)}: log lines will be refused from now on, and Heroku drops what is "
        "refused. What was counted so far stays, for as long as it is kept."
    )
    if not sys.stdin.isatty():
        return False
    _say("Remove? Type yes:")
    return sys.stdin.readline().strip() == "yes"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
