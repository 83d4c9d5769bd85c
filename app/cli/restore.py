"""The command `dynometer restore`: ends the loss of the store's data.

It works on the store, so it needs no address of a service. Running workers write back what their
copies hold, so it also works where this machine has no copy, as on Heroku.
"""

from __future__ import annotations

import argparse
import asyncio

from app.access.access_file import StoredAccess, read_copy
from app.access.restoration import RESTORE_S, discard, restore
from app.cli.open_store import open_store
from app.cli.output import print_err
from app.config import Settings

_NOTHING = "Nothing to restore: the store has its data."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that gives the copies up."""
    parser.add_argument(
        "--discard",
        action="store_true",
        help="give up the copies: from now on only drains and tokens in the store are valid",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Restore the access to a store, or give it up.

    Raises:
        ConfigError: there is no store.
        StoreUnavailable: the store does not answer.
    """
    return asyncio.run(_discard(settings) if arguments.discard else _restore(settings))


async def _restore(settings: Settings) -> int:
    async with open_store(settings) as store:
        print_err(f"Waiting {RESTORE_S} s for the copies of running workers …")
        restoration = await restore(store, _copy_of_store(settings))
    if restoration is None:
        print_err(_NOTHING)
    else:
        print_err(
            f"Written back: {restoration.drains:,} drains and {restoration.tokens:,} read tokens. "
            "Figures, alert rules and channels are not in the copies."
        )
    return 0


async def _discard(settings: Settings) -> int:
    async with open_store(settings) as store:
        loss = await discard(store)
    if loss is None:
        print_err(_NOTHING)
    else:
        print_err(
            f"Given up: {loss.drains:,} drains and {loss.tokens:,} read tokens. "
            "Takes effect within 5 seconds."
        )
    return 0


def _copy_of_store(settings: Settings) -> StoredAccess:
    """The copy on this machine, if it is one of this store."""
    copy = read_copy(settings.data_dir)
    is_of_store = not settings.redis_url or copy.address == settings.store_address
    return copy if is_of_store else StoredAccess()
