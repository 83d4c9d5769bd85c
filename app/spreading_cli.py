"""`dynometer spread APP PARTS`: an app that is too large for one primary of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import time
from importlib import import_module

from app.config import ConfigError, Settings
from app.core import ID_MARGIN_S
from app.levels import MARGIN_S
from app.parts import PARTS_MAX
from app.setting_values import count
from app.store.port import Sharded
from app.store_of import store_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which app, over how many."""
    parser.add_argument("app", metavar="APP", help="the app's name")
    parser.add_argument(
        "parts", metavar="PARTS", type=count, help=f"1 to {PARTS_MAX}; 1 is as any other app"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: the store is no cluster.
        SpreadingError: not now.
    """
    if arguments.parts > PARTS_MAX:
        raise ConfigError(f"{arguments.parts} parts: {PARTS_MAX} at the most")
    asyncio.run(_spread(arguments.app, arguments.parts, settings))
    return 0


async def _spread(app: str, parts: int, settings: Settings) -> None:
    async with store_of(settings) as store:
        if not isinstance(store, Sharded):
            raise ConfigError("apps can be spread on a cluster alone: REDIS_URL=redis+cluster://…")
        found = await import_module("app.spreading").spread(
            store,
            app,
            parts,
            clock=time.time,
            id_ttl_s=settings.spool_age_max_s + ID_MARGIN_S,
            state_ttl_s=settings.retention_1h_s + MARGIN_S,
        )
    print(f"{app} is spread over {found.parts} parts; only its active drain counts.")
