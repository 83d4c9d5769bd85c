"""Batches made of log lines, and writers and committers for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow, ActivityTimes
from app.ingest.batch_writer import BatchWriter
from app.ingest.coalesced_batch import CoalescedBatch
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import GroupCommitter
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.ingest.spool import Spool
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface.elements import random_bytes
from app.storage.interface.store import Store
from parsers.framing import split
from tests.support.lines import router
from tests.support.service import NOW_S, Clock

ACCEPTANCE = AcceptanceWindow(24 * 3600, 300)


def make_batch(
    *frames: bytes,
    app: str = "shop",
    frame_id: bytes = b"",
    drain: str = "",
    generation: int = 1,
    arrived_s: float = NOW_S,
) -> ReceivedBatch:
    """The batch of one POST; without frames, of one request at its arrival."""
    aggregator = Aggregator(arrived_s, ACCEPTANCE)
    aggregator.add_frames(split(b"".join(frames or (router(arrived_s),))))
    return ReceivedBatch(app, batch_id(frame_id), aggregator.build_body(), drain, generation)


def make_writer(
    store: Store, clock: Callable[[], float] | None = None, *, verified_s: float = 3600
) -> BatchWriter:
    return BatchWriter(
        store,
        id_ttl_s=4500,
        inbox_ttl_s=86_400,
        verified_s=verified_s,
        clock=clock or Clock(),
        on_appended=lambda lengths: None,
    )


def make_post(
    *frames: bytes,
    app: str = "shop",
    drain: str = "d.1",
    frame_id: bytes = b"",
    promised: int = 0,
    acceptance: AcceptanceWindow = ACCEPTANCE,
) -> DrainPost:
    """A POST of these frames that is not aggregated yet; without frames, of one request."""
    return DrainPost(
        DrainKey(app, drain, 1, acceptance),
        batch_id(frame_id),
        random_bytes(),
        b"".join(frames or (router(NOW_S),)),
        promised,
    )


def make_coalesced(first: DrainPost, *more: DrainPost, arrived_s: float = NOW_S) -> CoalescedBatch:
    """Coalesce POSTs that arrive one after the other."""
    batch = CoalescedBatch(first, arrived_s, DEFAULT_LIMITS)
    for post in more:
        batch.add(post)
    return batch


def make_committer(
    writer: BatchWriter,
    spool: Spool | None = None,
    *,
    wait_s: float = 5,
) -> GroupCommitter:
    """A committer as the drain uses it."""
    return GroupCommitter(
        writer,
        spool,
        wait_s=wait_s,
        limits=DEFAULT_LIMITS,
        clock=Clock(),
        on_stored=ignore_stored,
    )


async def ignore_stored(stored: Sequence[tuple[str, ActivityTimes]]) -> None:
    """An OnStored callback that does nothing."""
