"""Selects the implementation of the log-line aggregator: compiled if installed, otherwise Python.

Both produce the same batches; app.ingest.aggregator defines which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.ingest.aggregator import Aggregator
else:
    from app.ingest._aggregator import Aggregator

__all__ = ["Aggregator"]
