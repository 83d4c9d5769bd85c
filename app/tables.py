"""What answers are made of, in the quickest form that this installation has. All forms give the
same values; app.collect and app.latest say what these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app import latest as definition
from app.form import COMPILED
from app.latest import Latest
from app.packing import PackError

if TYPE_CHECKING or not COMPILED:
    from app.collect import Table
    from app.latest import latest as quick_latest
else:
    from app.hot.latest import latest as quick_latest
    from app.hot.tables import Table

__all__ = ["Table", "latest"]


def latest(packed: Sequence[bytes]) -> Latest:
    """See app.latest.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    try:
        return quick_latest(packed)
    except PackError:  # the definition may read it after all, or say better why not
        return definition.latest(packed)
