"""Selects the parser of common request heads: compiled if installed, otherwise Python.

Both accept and return the same; app.receivers.request_head defines the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.receivers.request_head import parse_common_head
else:
    from app.receivers._request_head import parse_common_head

__all__ = ["parse_common_head"]
