"""Errors of the store."""

from __future__ import annotations

from app.support.errors import UserError


class StoreError(UserError):
    """The store could not carry out a request; the message contains the fix."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or rejects commands (out of memory, read-only, loading, …).

    Whether the last write took place is unknown: repeat it with the same ids and tokens.
    """
