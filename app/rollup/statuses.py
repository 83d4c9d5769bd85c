"""HTTP statuses as rollups store them.

A status is 100 to 599; 0 stands for none. 1 to 5 stand for further statuses of that class, of
which a rollup holds more than its limit.
"""

from __future__ import annotations

import re

SWITCHING_PROTOCOLS = 101  # a WebSocket: its "service time" is how long it stayed open
FIRST_FAILED = 500
CLASS_SIZE = 100
STATUSES = range(100, 600)
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_CLASS_PATTERN = re.compile("[1-5][0-9x]x", re.IGNORECASE)
OK, FAILED = "ok", "failed"
MAINTENANCE = "maintenance"  # follows from an error code, not from the status alone
MAINTENANCE_STATUS = 503
OUTCOMES = (OK, FAILED, MAINTENANCE)


def is_failed(status: int) -> bool:
    """Whether a request failed for the platform: 5xx, or no status at all (H24)."""
    return status >= FIRST_FAILED or status in (0, 5)


def outcome_of(status: int) -> str:
    """Return the outcome that the status alone tells: OK or FAILED."""
    return FAILED if is_failed(status) else OK


def status_class(status: int) -> str:
    """Return "2xx" and so on; "" for no status."""
    digit = status // CLASS_SIZE or status
    return f"{digit}xx" if digit else ""


def status_label(status: int) -> str:
    """Return the label that users see: "200", "" for none, and "4xx" for 4xx statuses over the
    limit.
    """
    return str(status) if status >= CLASS_SIZE else status_class(status)


def status_pattern(text: str) -> str:
    """The pattern of a filter on `status`: "5xx" stands for its class, "50x" for 500 to 509."""
    return text.lower().replace("x", "?") if _CLASS_PATTERN.fullmatch(text) else text


def limit_status(status: int, within_limit: set[int]) -> int:
    """Return the status itself if it is within the limit, otherwise its class, 1 to 5."""
    return status if status in within_limit or status < CLASS_SIZE else status // CLASS_SIZE
