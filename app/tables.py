"""What answers are made of, in the quickest form that this installation has. All forms give the
same values; app.collect, app.latest and app.glance say what these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app import glance as defined_glance
from app import latest as defined_latest
from app.collect import Range
from app.form import COMPILED
from app.glance import Glance
from app.latest import Latest
from app.packing import PackError

if TYPE_CHECKING or not COMPILED:
    from app.collect import Table
    from app.glance import glance as quick_glance
    from app.latest import latest as quick_latest
else:
    from app.hot.glance import glance as quick_glance
    from app.hot.latest import latest as quick_latest
    from app.hot.tables import Table

__all__ = ["Table", "glance", "latest"]


def latest(packed: Sequence[bytes]) -> Latest:
    """See app.latest.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    try:
        return quick_latest(packed)
    except PackError:  # the definition may read it after all, or say better why not
        return defined_latest.latest(packed)


def glance(span: Range, packed: Sequence[tuple[int, bytes]], code_steps: int) -> Glance:
    """See app.glance.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    try:
        return quick_glance(span, packed, code_steps)
    except PackError:  # as above
        return defined_glance.glance(span, packed, code_steps)
