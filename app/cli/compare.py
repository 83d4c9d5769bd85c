"""`dynometer compare URL_A URL_B`: whether two stores hold the same, for whoever moves from one to
the other, or has made one anew from the log.

Intervals are compared as readers see them, what waits in the inbox included; equal rollups have
equal bytes, so nothing is rounded away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from app.config import Settings, parse_duration
from app.folding.merge import data_of, merge_one_by_one, slot_writes
from app.rollup.accelerated import merge_rollups, to_python
from app.rollup.resolutions import Resolution, align, resolutions
from app.rollup.rollup import Rollup
from app.storage.connect import connect
from app.storage.interface import TOTAL, Contents, Slot, Store

SETTLED = "5m"
SHOWN_MAX = 20  # differences of an app, for people


class Difference(NamedTuple):
    """An interval of an app in which the stores differ: in what, and the requests of each."""

    app: str
    resolution: str
    start: int
    fields: tuple[str, ...]
    requests: tuple[int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which stores, and what of them."""
    parser.add_argument("first", metavar="URL_A", help="a store, written as REDIS_URL is")
    parser.add_argument("second", metavar="URL_B", help="another one")
    parser.add_argument("--app", action="append", default=[], help="only this one; repeats")
    parser.add_argument(
        "--within",
        type=parse_duration,
        metavar="7d",
        help="only so far back (default: all that is kept)",
    )
    parser.add_argument(
        "--settled",
        type=parse_duration,
        default=SETTLED,
        help="leave out what is younger: it may be on its way yet (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, all of it")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command: 0 when they hold the same, 1 when not.

    Raises:
        StoreError: one of them cannot be asked.
    """
    found = asyncio.run(_compare(arguments, settings))
    differences = [each for some in found.values() for each in some]
    if not found:
        print("Neither of them knows an app.", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([each._asdict() for each in differences], indent=2))
    else:
        for app, some in found.items():
            print(f"{app}: {'differs' if some else 'the same'}")
            for each in some[:SHOWN_MAX]:
                print(f"    {_sentence(each)}")
            if len(some) > SHOWN_MAX:
                print(f"    and {len(some) - SHOWN_MAX} more: --json shows all")
    return 1 if differences else 0


def _sentence(each: Difference) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(each.start))
    first, second = each.requests
    requests = f" ({first:,} and {second:,} requests)" if first != second else ""
    return f"{each.resolution} from {at} UTC: {', '.join(each.fields)}{requests}"


async def _compare(
    arguments: argparse.Namespace, settings: Settings
) -> dict[str, list[Difference]]:
    stores = connect(arguments.first), connect(arguments.second)
    tiers = resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)
    now_s = int(time.time())
    try:
        seen = [each.app for store in stores for each in await store.seen_apps()]
        return {
            app: [
                each
                async for each in differences(
                    *stores, app, tiers, now_s, arguments.settled, arguments.within
                )
            ]
            for app in arguments.app or sorted(set(seen))
        }
    finally:
        for store in stores:
            await store.close()


async def differences(
    first: Store,
    second: Store,
    app: str,
    tiers: Sequence[Resolution],
    now_s: int,
    settled_s: int,
    within_s: int | None = None,
) -> AsyncIterator[Difference]:
    """Every interval of the app that ended `settled_s` ago, and began `within_s` ago at the most,
    in which the stores differ. The totals are left out: they reach back further than any log.
    """
    for tier in tiers:
        back_s = min(tier.retention_s, within_s or tier.retention_s)
        since = align(now_s - back_s, tier.seconds)
        until = align(now_s - settled_s, tier.seconds)
        slots = [Slot(tier.name, start) for start in range(since, until, tier.seconds)]
        one = await _rollups(await first.read(app, slots), tiers, now_s)
        other = await _rollups(await second.read(app, slots), tiers, now_s)
        for slot in slots:
            a, b = one.get(slot, Rollup()), other.get(slot, Rollup())
            if fields := _fields_that_differ(a, b):
                requests = sum(a.requests.values()), sum(b.requests.values())
                yield Difference(app, tier.name, slot.start, fields, requests)


async def _rollups(
    contents: Contents, tiers: Sequence[Resolution], now_s: int
) -> Mapping[Slot, Rollup]:
    """What each slot comes to with what is waiting to be folded."""
    packed = {slot: list(map(data_of, elements)) for slot, elements in contents.slots.items()}
    waiting = contents.inbox
    while waiting:
        merge = await merge_one_by_one(waiting)
        for write in await slot_writes(merge, tiers, now_s):
            if write.slot != TOTAL:
                packed.setdefault(write.slot, []).append(data_of(write.element))
        waiting = list(islice(waiting, len(merge.folded), None))
    return {slot: to_python(merge_rollups(some)) for slot, some in packed.items()}


def _fields_that_differ(first: Rollup, second: Rollup) -> tuple[str, ...]:
    return tuple(name for name in Rollup.__slots__ if _of(first, name) != _of(second, name))


def _of(rollup: Rollup, field: str) -> Any:
    return getattr(rollup, field)
