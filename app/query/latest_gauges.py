"""The latest value of every gauge, and the dynos that were active at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.rollup.codec import merge_packed
from app.rollup.rollup import Rollup

SECTIONS = frozenset({"gauges", "named_gauges", "active_minutes"})


class LatestGauges(NamedTuple):
    """`last`: (source, number or name of a gauge) -> value in the gauge's stored unit."""

    last: dict[tuple[str, int | str], int]
    active_dynos: set[str]


def latest_gauges(packed_rollups: Iterable[bytes]) -> LatestGauges:
    """Merge packed rollups of one app and take the latest values.

    Raises:
        PackError, NewerVersion: a rollup cannot be read.
    """
    merged_rollup = Rollup()
    for data in packed_rollups:
        merge_packed(merged_rollup, data, SECTIONS)
    last: dict[tuple[str, int | str], int] = {}
    for gauges in (merged_rollup.gauges, merged_rollup.named_gauges):
        last.update({key: summary.last for key, summary in gauges.items()})
    return LatestGauges(last, set(merged_rollup.active_minutes))
