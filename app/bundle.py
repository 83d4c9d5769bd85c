"""Arrivals of an app that can go into the store as one element: what a busy app sends within a
moment is added up here already, and is packed, stored and folded once for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.arrival import Arrival
from app.ingest import MINUTE_S, together


def alike(arrivals: Sequence[Arrival]) -> bool:
    """Whether one element can hold them: they came from the same drain within the same minute, to
    which the ledger books them, and none is the repetition of another.
    """
    first = arrivals[0]
    minute = first.parts.arrived_s // MINUTE_S
    return len({arrival.id for arrival in arrivals}) == len(arrivals) and all(
        arrival.drain == first.drain
        and arrival.generation == first.generation
        and arrival.parts.arrived_s // MINUTE_S == minute
        for arrival in arrivals
    )


def as_one(arrivals: Sequence[Arrival]) -> Arrival:
    """An arrival with the lines of all of these, which are alike."""
    first = arrivals[0]
    if len(arrivals) == 1:
        return first
    parts = together([arrival.parts for arrival in arrivals])
    return Arrival(first.app, first.id, parts, first.drain, first.generation)
