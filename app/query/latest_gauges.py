"""What dynos said last: each gauge's latest value, and who was heard from at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.rollup.codec import absorb
from app.rollup.rollup import Rollup

SECTIONS = frozenset({"gauges", "minutes"})


class Latest(NamedTuple):
    """`last`: (source, gauge) -> value in the gauge's stored unit."""

    last: dict[tuple[str, int], int]
    heard: set[str]


def latest(packed: Iterable[bytes]) -> Latest:
    """Of packed rollups.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    recent = Rollup()
    for data in packed:
        absorb(recent, data, SECTIONS)
    last = {key: reading.last for key, reading in recent.gauges.items()}
    return Latest(last, set(recent.minutes))
