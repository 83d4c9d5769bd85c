"""Selects the implementation of query code: compiled if installed, otherwise Python.

Both return the same values. app.query.table defines them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.query.table import Table
else:
    from app.query._table import Table

__all__ = ["Table"]
