"""The cells of an answer, in the quickest form that this installation has. All forms give the same
values; app.collect says what these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.form import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.collect import Table
else:
    from app.hot.tables import Table

__all__ = ["Table"]
