"""From log lines to batches, by the quickest way that this installation has;
app.ingest.aggregator says what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.ingest.aggregator import Aggregator
else:
    from app.ingest._aggregator import Aggregator

__all__ = ["Aggregator"]
