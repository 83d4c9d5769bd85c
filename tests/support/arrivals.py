"""Arrivals made of lines, and the way into a store that tests use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import Horizon, Seen
from app.ingest.batch_writer import Appender
from app.ingest.coalesced_batch import Bundle, Post, Sender
from app.ingest.group_commit import Committer
from app.ingest.received_batch import Arrival, batch_id
from app.ingest.spool import Spool
from app.rollup.rollup import CAPS
from app.storage.interface import Store, random_bytes
from parsers.framing import split
from tests.support.lines import router
from tests.support.service import NOW_S, Clock

HORIZON = Horizon(24 * 3600, 300)
_BUNDLE_OF = partial(Bundle, horizon=HORIZON, caps=CAPS)


def arrival(
    *frames: bytes,
    app: str = "shop",
    frame_id: bytes = b"",
    drain: str = "",
    generation: int = 1,
    arrived_s: float = NOW_S,
) -> Arrival:
    """What a POST of these frames brought; of one request at its arrival unless some are given."""
    aggregator = Aggregator(arrived_s, HORIZON)
    aggregator.add_frames(split(b"".join(frames or (router(arrived_s),))))
    return Arrival(app, batch_id(frame_id), aggregator.parts(), drain, generation)


def appender(
    store: Store, clock: Callable[[], float] | None = None, *, verified_s: float = 3600
) -> Appender:
    return Appender(
        store,
        id_ttl_s=4500,
        inbox_ttl_s=86_400,
        verified_s=verified_s,
        clock=clock or Clock(),
        on_stored=lambda lengths: None,
    )


def post(*frames: bytes, frame_id: bytes = b"", promised: int = 0) -> Post:
    """A POST of these frames, not counted up yet."""
    return Post(batch_id(frame_id), random_bytes(), b"".join(frames or (router(NOW_S),)), promised)


def bundle(
    first: Post, *others: Post, app: str = "shop", drain: str = "d.1", arrived_s: float = NOW_S
) -> Bundle:
    """POSTs that came one after the other."""
    found = Bundle(Sender(app, drain, 1), first, arrived_s, HORIZON, CAPS)
    for each in others:
        found.add(each)
    return found


def committer(
    append: Appender,
    spool: Spool | None = None,
    *,
    wait_s: float = 5,
    bundle_of: Callable[[Sender, Post, float], Bundle] = _BUNDLE_OF,
) -> Committer:
    """The way to an appender that the drain takes."""
    return Committer(
        append,
        spool,
        wait_s=wait_s,
        bundle_of=bundle_of,
        clock=Clock(),
        on_stored=nothing_more,
    )


async def nothing_more(stored: Sequence[tuple[str, Seen]]) -> None:
    """Whoever is told what was stored, and has nothing to do about it."""
