"""What answers are made of, in the quickest form that this installation has. All forms give the
same values; app.query.table, app.query.latest_gauges and app.query.glance say what these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.query import glance as defined_glance
from app.query import latest_gauges as defined_latest
from app.query.glance import Glance
from app.query.latest_gauges import LatestGauges
from app.query.table import QueryRange
from app.rollup.codec import PackError
from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.query.glance import glance as quick_glance
    from app.query.latest_gauges import latest_gauges as quick_latest
    from app.query.table import Table
else:
    from app.query._glance import glance as quick_glance
    from app.query._latest_gauges import latest_gauges as quick_latest
    from app.query._table import Table

__all__ = ["Table", "glance", "latest_gauges"]


def latest_gauges(packed: Sequence[bytes]) -> LatestGauges:
    """See app.query.latest_gauges.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    try:
        return quick_latest(packed)
    except PackError:  # the definition may read it after all, or say better why not
        return defined_latest.latest_gauges(packed)


def glance(span: QueryRange, packed: Sequence[tuple[int, bytes]], code_steps: int) -> Glance:
    """See app.query.glance.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    try:
        return quick_glance(span, packed, code_steps)
    except PackError:  # as above
        return defined_glance.glance(span, packed, code_steps)
