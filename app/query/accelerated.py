"""Selects the implementation of query code: compiled if installed, otherwise Python.

Both return the same values. app.query.table, app.query.latest_gauges and app.query.app_summary
define them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.query import app_summary as reference_summary
from app.query import latest_gauges as reference_gauges
from app.query.app_summary import AppSummary
from app.query.latest_gauges import LatestGauges
from app.query.table import QueryRange
from app.rollup.codec import PackError
from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.query.app_summary import summarize_app as fast_summarize_app
    from app.query.latest_gauges import latest_gauges as fast_latest_gauges
    from app.query.table import Table
else:
    from app.query._app_summary import summarize_app as fast_summarize_app
    from app.query._latest_gauges import latest_gauges as fast_latest_gauges
    from app.query._table import Table

__all__ = ["Table", "latest_gauges", "summarize_app"]


def latest_gauges(packed_rollups: Sequence[bytes]) -> LatestGauges:
    """Merge packed rollups of one app and take the latest values.

    Raises:
        PackError, NewerVersion: a rollup cannot be read.
    """
    try:
        return fast_latest_gauges(packed_rollups)
    except PackError:  # Python may still read it, or names the reason
        return reference_gauges.latest_gauges(packed_rollups)


def summarize_app(
    time_range: QueryRange, packed_rollups: Sequence[tuple[int, bytes]], code_steps: int
) -> AppSummary:
    """Summarize (start of the slot, packed rollup) pairs, which lie in the range.

    Error codes are counted in the last `code_steps` steps only.

    Raises:
        PackError, NewerVersion: a rollup cannot be read.
    """
    try:
        return fast_summarize_app(time_range, packed_rollups, code_steps)
    except PackError:  # as above
        return reference_summary.summarize_app(time_range, packed_rollups, code_steps)
