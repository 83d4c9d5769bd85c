"""From log lines to batches, by the quickest way that this installation has; app.ingest says what
comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.form import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.ingest import Aggregator
else:
    from app.hot.lines import Aggregator

__all__ = ["Aggregator"]
