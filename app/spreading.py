"""Spreading an app over more parts of a cluster, or fewer, while lines come in: see app.parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from app.active_drain import Spread, pack_state, unpack_state
from app.parts import names_of
from app.store.cluster import SPREADS_FRESH_S, ClusterStore

_ONE = Spread(0, 1, 1, 0, 1)


class SpreadingError(Exception):
    """It cannot be done, or not now; the message says why and what to do."""


async def spread(
    store: ClusterStore,
    app: str,
    parts: int,
    *,
    clock: Callable[[], float],
    id_ttl_s: int,
    state_ttl_s: int,
) -> Spread:
    """Spread an app over so many parts; returns how it is spread then. One that was broken off is
    brought to its end.

    Raises:
        SpreadingError: no drain has delivered yet, or the last change was too short a time ago.
        StoreUnavailable: do it again.
    """
    await store.read_spreads()
    before = store.spread_of(app) or _ONE
    if not await _is_everywhere(store, app, before):
        await _put_everywhere(store, app, before, state_ttl_s)
    if before.parts == parts:
        return before
    left_s = before.changed_s + id_ttl_s - clock()
    if before.version and left_s > 0:
        raise SpreadingError(
            f"{app} was spread over {before.parts} parts a short time ago: until POSTs from before "
            f"cannot be repeated any more, wait {left_s / 60:.0f} minutes"
        )
    widest = max(before.widest, parts)
    await store.put_spread(app, msgspec.structs.replace(before, widest=widest))
    await asyncio.sleep(SPREADS_FRESH_S + 1)  # until all readers look into the new parts, too
    after = Spread(before.version + 1, parts, before.parts, int(clock()), widest)
    await _put_everywhere(store, app, after, state_ttl_s)
    return after


async def _is_everywhere(store: ClusterStore, app: str, spread: Spread) -> bool:
    if not spread.version:
        return True
    for name in names_of(app, spread.widest):
        state = unpack_state((await store.known(name, []))[0])
        if state is None or state.spread is None or state.spread.version < spread.version:
            return False
    return True


async def _put_everywhere(store: ClusterStore, app: str, spread: Spread, state_ttl_s: int) -> None:
    """First where workers look: from then on they wait for the parts."""
    first = unpack_state((await store.known(app, []))[0])
    if first is None:
        raise SpreadingError(f"no drain of {app} has delivered yet: its active drain is to stay")
    state = pack_state(msgspec.structs.replace(first, spread=spread))
    await store.put_spread(app, spread)
    store.learn(app, spread)
    for name in names_of(app, spread.widest):
        put = False
        while not put:
            before = (await store.known(name, []))[0]
            put = await store.put_state(name, before, state, state_ttl_s * 1000)
