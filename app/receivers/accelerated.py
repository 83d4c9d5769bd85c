"""The head of a usual POST, by the quickest way that this installation has; request_head
says what is usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.receivers.request_head import parse_common_head
else:
    from app.receivers._request_head import parse_common_head

__all__ = ["parse_common_head"]
