"""Arrivals made of lines, and the way into a store that tests use."""

from __future__ import annotations

from collections.abc import Callable

from app.aggregate import Aggregator
from app.appender import Appender
from app.arrival import Arrival, batch_id
from app.ingest import Horizon
from app.store.port import Store
from parsers.framing import split
from tests.support.lines import router
from tests.support.service import NOW_S, Clock

HORIZON = Horizon(24 * 3600, 300)


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
        on_stored=lambda app, length: None,
    )
