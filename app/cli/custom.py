"""`dynometer custom`: switches custom metrics of apps on and off.

It works on the store, so it needs no address of a service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from app.access.custom_switch import custom_apps, switch_custom
from app.cli.arguments import app_name
from app.cli.open_store import open_store
from app.cli.output import print_err, print_table
from app.config import Settings
from app.query.open_names import list_open_metrics, listed_range, read_dropped
from app.storage.interface.store import Store
from app.support.about import command

Action = Callable[[Store, argparse.Namespace], Awaitable[int]]
_FAMILY = "custom"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands on, off and status."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    switch_on = actions.add_parser("on", help="read count#, measure# and sample# in apps' output")
    switch_on.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    switch_on.set_defaults(action=_switch, is_on=True)
    switch_off = actions.add_parser("off", help="stop reading them; what is stored stays")
    switch_off.add_argument("apps", metavar="APP", nargs="+", type=app_name)
    switch_off.set_defaults(action=_switch, is_on=False)
    status = actions.add_parser("status", help="list apps with custom metrics, and their metrics")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(action=_show)


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


async def _switch(store: Store, arguments: argparse.Namespace) -> int:
    for app in arguments.apps:
        await switch_custom(store, app, is_on=arguments.is_on)
        state = "on" if arguments.is_on else "off"
        print_err(f"{app}: custom metrics are {state}. Takes effect within 5 seconds.")
    return 0


async def _show(store: Store, arguments: argparse.Namespace) -> int:
    apps = sorted(custom_apps((await store.access_tables()).notes))
    statuses = [await _status(store, app) for app in apps]
    if arguments.json:
        print(json.dumps(statuses, indent=2))
    elif not apps:
        print_err(f"Custom metrics are off for every app. Switch on: {command()} custom on APP")
    else:
        print_table(
            ("APP", "METRICS IN 24 H", "VALUES DROPPED IN 24 H"),
            [
                (str(status["app"]), str(len(status["metrics"])), f"{status['dropped']:,}")
                for status in statuses
            ],
        )
    return 0


async def _status(store: Store, app: str) -> dict[str, Any]:
    now_s = time.time()
    metrics = await list_open_metrics(store, app, now_s)
    return {
        "app": app,
        "metrics": [
            {"name": listed.metric.name, "unit": listed.unit}
            for listed in metrics
            if listed.metric.name.startswith(f"{_FAMILY}.")
        ],
        "dropped": await read_dropped(store, [app], listed_range(now_s), _FAMILY),
    }
