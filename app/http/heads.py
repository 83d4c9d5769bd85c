"""The head of a usual POST, by the quickest way that this installation has; app.http.usual_head
says what is usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.form import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.http.usual_head import usual_head
else:
    from app.hot.heads import usual_head

__all__ = ["usual_head"]
