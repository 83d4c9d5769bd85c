"""`dynometer status`: says of each app whether it is all right, the worst first.

It works on the store, so it needs no address of a service. Scripts read the exit code:

    0  every app is ok, idle or in maintenance
    3  degraded
    4  down or silent
    5  unreadable or unknown
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence

from app.cli.arguments import app_glob
from app.cli.open_store import open_store
from app.cli.output import print_err, wrap
from app.config import Settings
from app.judgement.verdict import State, Verdict
from app.judgement.wording import describe_finding
from app.service.ranges import build_tiers
from app.storage.interface.apps import SeenApp
from app.support.about import command
from app.support.globs import matches_glob
from app.verdicts.fleet import Fleet, find_fleet
from app.verdicts.public_fields import verdicts_fields
from app.verdicts.urgency import worst_first
from app.verdicts.verdict_reader import VerdictReader

WIDTH = 100
EXIT_CODES: dict[State, int] = {
    "ok": 0, "idle": 0, "maintenance": 0, "degraded": 3, "down": 4, "silent": 4,
    "unreadable": 5, "unknown": 5,
}  # fmt: skip
_STATE_WIDTH = max(map(len, EXIT_CODES))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the apps and --json."""
    parser.add_argument(
        "apps",
        metavar="APP",
        nargs="*",
        type=app_glob,
        help="an app, or a pattern of names such as shop-* (default: every app)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, as /api/v1/verdicts answers"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the verdicts, and return the exit code of the worst.

    Raises:
        ConfigError: there is no store.
        StoreUnavailable: the store does not answer.
    """
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        seen_apps = await store.seen_apps()
        if unmatched := _unmatched(arguments.apps, seen_apps):
            print_err(f"{', '.join(unmatched)}: no such app. List them: {command()} apps list")
            return 2
        reader = VerdictReader(store, build_tiers(settings), settings.review_apps, settings.limits)
        verdicts = worst_first((await reader.current(seen_apps, time.time())).values())
    fleet = find_fleet(verdicts)  # of all apps, whichever are asked for
    verdicts = [verdict for verdict in verdicts if _is_selected(verdict.app, arguments.apps)]
    return print_status(verdicts, fleet, as_json=arguments.json)


def print_status(
    verdicts: Sequence[Verdict], fleet: Fleet | None = None, *, as_json: bool = False
) -> int:
    """Print these verdicts, which are sorted, and return the exit code."""
    if as_json:
        print(json.dumps(verdicts_fields(verdicts, fleet), indent=2))
    elif not verdicts:
        print_err("No app has sent data yet.")
    else:
        if fleet:
            print(
                "\n".join(wrap(describe_finding(fleet.finding, fleet.judged_s), WIDTH)), end="\n\n"
            )
        print("\n".join(format_status(verdicts)))
    return exit_code(verdicts)


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """The exit code for these verdicts, which are sorted: that of the first, the worst."""
    return EXIT_CODES[verdicts[0].state] if verdicts else 0


def format_status(verdicts: Sequence[Verdict]) -> list[str]:
    """The lines of the table: the app, its state, and its summary."""
    width = max(len(verdict.app) for verdict in verdicts)
    lines = []
    for verdict in verdicts:
        begin = f"{verdict.app:<{width}}  {verdict.state:<{_STATE_WIDTH}}  "
        lines += wrap(verdict.summary, max(WIDTH, len(begin) + 40), begin)
    return lines


def _is_selected(app: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(matches_glob(app, pattern) for pattern in patterns)


def _unmatched(patterns: Sequence[str], seen_apps: Sequence[SeenApp]) -> list[str]:
    """The patterns that match no app."""
    return [
        pattern
        for pattern in patterns
        if not any(matches_glob(app.app, pattern) for app in seen_apps)
    ]
