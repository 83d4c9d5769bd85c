"""Errors of the store."""

from __future__ import annotations

import re

from app.support.errors import UserError

_CAUSE = re.compile(r" \((\w*(?:Connection|Timeout|OSError)\w*): .*\)\.", re.DOTALL)
_ADDRESS = re.compile(  # host and port
    r"(?:ipv[46]#)?(?:\[[0-9A-Fa-f:.]+\]|[\w.-]*[A-Za-z.][\w.-]*):[0-9]{2,5}\b"
)


class StoreError(UserError):
    """The store could not carry out a request; the message contains the fix."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or rejects commands (out of memory, read-only, loading, …).

    Whether the last write took place is unknown: repeat it with the same ids and tokens.
    """


class HistoryUnavailable(StoreUnavailable):
    """Older rollups cannot be read now, because their archive does not answer."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason} {advice}")
        self.reason = reason


def without_addresses(text: str) -> str:
    """A message of the store for people who must not learn where it is.

    Of what the client said about a connection, only the kind of error is left.
    """
    return _ADDRESS.sub("its address", _CAUSE.sub(r" (\1).", text))
