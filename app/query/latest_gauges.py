"""What dynos said last: each gauge's latest value, and who was heard from at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.rollup.codec import merge_packed
from app.rollup.rollup import Rollup

SECTIONS = frozenset({"gauges", "active_minutes"})


class LatestGauges(NamedTuple):
    """`last`: (source, gauge) -> value in the gauge's stored unit."""

    last: dict[tuple[str, int], int]
    active_dynos: set[str]


def latest_gauges(packed: Iterable[bytes]) -> LatestGauges:
    """Of packed rollups.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    recent = Rollup()
    for data in packed:
        merge_packed(recent, data, SECTIONS)
    last = {key: reading.last for key, reading in recent.gauges.items()}
    return LatestGauges(last, set(recent.active_minutes))
