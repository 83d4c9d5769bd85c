"""`dynometer compare URL_A URL_B`: compares the contents of two stores.

Use it after moving to another store, or after rebuilding one from the Kafka log. Intervals are
compared as readers see them, with the batches that are not folded yet. Equal rollups have equal
bytes, so no rounding can hide a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from app.cli.arguments import duration
from app.cli.output import ProgressLine, format_minute, print_err
from app.config import Settings
from app.folding.merge import data_of, merge_one_by_one, slot_writes
from app.rollup.accelerated import merge_rollups, to_python
from app.rollup.resolutions import Resolution, align, resolutions
from app.rollup.rollup import Rollup
from app.storage.connect import connect, refuse_unsupported_data
from app.storage.interface.elements import TOTAL, Slot
from app.storage.interface.rollups import Contents, RollupReader

SETTLED = "5m"
DIFFERENCES_SHOWN = 20  # per app, without --json


class Difference(NamedTuple):
    """An interval of an app that differs: the rollup's fields, and the requests in each store."""

    app: str
    resolution: str
    start: int
    fields: tuple[str, ...]
    requests: tuple[int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the URLs of the stores, and options for the range to compare."""
    parser.add_argument("first", metavar="URL_A", help="a store, as in REDIS_URL")
    parser.add_argument("second", metavar="URL_B", help="another store")
    parser.add_argument(
        "--app", action="append", default=[], help="compare only this app; repeatable"
    )
    parser.add_argument(
        "--within",
        type=duration,
        metavar="7d",
        help="compare no older data than this (default: everything that is kept)",
    )
    parser.add_argument(
        "--settled",
        type=duration,
        default=SETTLED,
        help="leave out data younger than this, which may still be on its way "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Return 0 if the stores hold the same, else 1.

    Raises:
        StoreError: a store cannot be read.
    """
    results = asyncio.run(_compare_apps(arguments, settings))
    differences = [difference for result in results.values() for difference in result]
    if not results:
        print_err("Neither store has data of any app.")
        return 1
    if arguments.json:
        print(json.dumps([difference._asdict() for difference in differences], indent=2))
    else:
        for app, result in results.items():
            print(f"{app}: {'differs' if result else 'the same'}")
            for difference in result[:DIFFERENCES_SHOWN]:
                print(f"    {_sentence(difference)}")
            if len(result) > DIFFERENCES_SHOWN:
                print(f"    and {len(result) - DIFFERENCES_SHOWN} more: --json shows all")
    return 1 if differences else 0


def _sentence(difference: Difference) -> str:
    first, second = difference.requests
    requests = f" ({first:,} and {second:,} requests)" if first != second else ""
    return (
        f"{difference.resolution} from {format_minute(difference.start)} UTC: "
        f"{', '.join(difference.fields)}{requests}"
    )


async def _compare_apps(
    arguments: argparse.Namespace, settings: Settings
) -> dict[str, list[Difference]]:
    stores = connect(arguments.first), connect(arguments.second)
    tiers = resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)
    now_s = int(time.time())
    progress = ProgressLine()
    try:
        for store in stores:
            await refuse_unsupported_data(store)
        seen_apps = {sighting.app for store in stores for sighting in await store.seen_apps()}
        apps = arguments.app or sorted(seen_apps)
        results = {}
        for number, app in enumerate(apps, 1):
            progress.show(f"comparing {app}, app {number:,} of {len(apps):,}")
            results[app] = [
                difference
                async for difference in differences_of(
                    *stores, app, tiers, now_s, arguments.settled, arguments.within
                )
            ]
        return results
    finally:
        progress.clear()
        for store in stores:
            await store.close()


async def differences_of(
    first: RollupReader,
    second: RollupReader,
    app: str,
    tiers: Sequence[Resolution],
    now_s: int,
    settled_s: int,
    within_s: int | None = None,
) -> AsyncIterator[Difference]:
    """The intervals of an app in which the stores differ.

    Compares intervals that ended at least `settled_s` ago and began at most `within_s` ago. Totals
    are left out: they reach back further than any log.
    """
    for tier in tiers:
        span_s = min(tier.retention_s, within_s or tier.retention_s)
        start = align(now_s - span_s, tier.seconds)
        end = align(now_s - settled_s, tier.seconds)
        slots = [Slot(tier.name, at_s) for at_s in range(start, end, tier.seconds)]
        first_rollups = await _rollups(await first.read(app, slots), tiers, now_s)
        second_rollups = await _rollups(await second.read(app, slots), tiers, now_s)
        for slot in slots:
            a, b = first_rollups.get(slot, Rollup()), second_rollups.get(slot, Rollup())
            if fields := _differing_fields(a, b):
                requests = sum(a.requests.values()), sum(b.requests.values())
                yield Difference(app, tier.name, slot.start, fields, requests)


async def _rollups(
    contents: Contents, tiers: Sequence[Resolution], now_s: int
) -> Mapping[Slot, Rollup]:
    """The rollup of each slot, with the batches of the inbox folded in."""
    payloads = {slot: list(map(data_of, elements)) for slot, elements in contents.slots.items()}
    inbox = contents.inbox
    while inbox:
        merge = await merge_one_by_one(inbox)
        for write in await slot_writes(merge, tiers, now_s):
            if write.slot != TOTAL:
                payloads.setdefault(write.slot, []).append(data_of(write.element))
        inbox = list(islice(inbox, len(merge.elements), None))
    return {slot: to_python(merge_rollups(data)) for slot, data in payloads.items()}


# Fields whose printed names are older than their names in the code.
_PRINTED_NAMES = {"active_minutes": "minutes", "extensions": "later"}


def _differing_fields(first: Rollup, second: Rollup) -> tuple[str, ...]:
    fields = [name for name in vars(first) if getattr(first, name) != getattr(second, name)]
    return tuple(sorted(_PRINTED_NAMES.get(name, name) for name in fields))
