"""Arrivals made of lines, and the way into a store that tests use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow, ActivityTimes
from app.ingest.batch_writer import BatchWriter
from app.ingest.coalesced_batch import CoalescedBatch, DrainKey, DrainPost
from app.ingest.group_commit import GroupCommitter
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.ingest.spool import Spool
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface import Store, random_bytes
from parsers.framing import split
from tests.support.lines import router
from tests.support.service import NOW_S, Clock

HORIZON = AcceptanceWindow(24 * 3600, 300)
_BUNDLE_OF = partial(CoalescedBatch, acceptance=HORIZON, limits=DEFAULT_LIMITS)


def arrival(
    *frames: bytes,
    app: str = "shop",
    frame_id: bytes = b"",
    drain: str = "",
    generation: int = 1,
    arrived_s: float = NOW_S,
) -> ReceivedBatch:
    """What a POST of these frames brought; of one request at its arrival unless some are given."""
    aggregator = Aggregator(arrived_s, HORIZON)
    aggregator.add_frames(split(b"".join(frames or (router(arrived_s),))))
    return ReceivedBatch(app, batch_id(frame_id), aggregator.build_body(), drain, generation)


def appender(
    store: Store, clock: Callable[[], float] | None = None, *, verified_s: float = 3600
) -> BatchWriter:
    return BatchWriter(
        store,
        id_ttl_s=4500,
        inbox_ttl_s=86_400,
        verified_s=verified_s,
        clock=clock or Clock(),
        on_stored=lambda lengths: None,
    )


def post(*frames: bytes, frame_id: bytes = b"", promised: int = 0) -> DrainPost:
    """A POST of these frames, not counted up yet."""
    return DrainPost(
        batch_id(frame_id), random_bytes(), b"".join(frames or (router(NOW_S),)), promised
    )


def bundle(
    first: DrainPost,
    *others: DrainPost,
    app: str = "shop",
    drain: str = "d.1",
    arrived_s: float = NOW_S,
) -> CoalescedBatch:
    """POSTs that came one after the other."""
    found = CoalescedBatch(DrainKey(app, drain, 1), first, arrived_s, HORIZON, DEFAULT_LIMITS)
    for each in others:
        found.add(each)
    return found


def committer(
    append: BatchWriter,
    spool: Spool | None = None,
    *,
    wait_s: float = 5,
    bundle_of: Callable[[DrainKey, DrainPost, float], CoalescedBatch] = _BUNDLE_OF,
) -> GroupCommitter:
    """The way to an appender that the drain takes."""
    return GroupCommitter(
        append,
        spool,
        wait_s=wait_s,
        new_batch=bundle_of,
        clock=Clock(),
        on_stored=nothing_more,
    )


async def nothing_more(stored: Sequence[tuple[str, ActivityTimes]]) -> None:
    """Whoever is told what was stored, and has nothing to do about it."""
