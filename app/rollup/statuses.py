"""HTTP statuses as Dynometer keeps them: 100 to 599, 0 for none, and 1 to 5 for "any other of that
class".
"""

from __future__ import annotations

SWITCHING_PROTOCOLS = 101  # a WebSocket: its "service time" is how long it stayed open
FIRST_FAILED = 500
CLASS_SIZE = 100
OUTCOMES = ("ok", "failed")


def is_failed(status: int) -> bool:
    """Whether a request failed for the platform: 5xx, or no status at all (H24)."""
    return status >= FIRST_FAILED or status in (0, 5)


def outcome_of(status: int) -> str:
    """ "ok" or "failed"."""
    return "failed" if is_failed(status) else "ok"


def status_class(status: int) -> str:
    """ "2xx" and so on; "" for no status."""
    digit = status // CLASS_SIZE or status
    return f"{digit}xx" if digit else ""


def status_label(status: int) -> str:
    """The status as users see it: "200", "" for none, and "4xx" for the 4xx statuses over the
    cap.
    """
    return str(status) if status >= CLASS_SIZE else status_class(status)


def capped_status(status: int, kept: set[int]) -> int:
    """Statuses over the cap become their class, 1 to 5."""
    return status if status in kept or status < CLASS_SIZE else status // CLASS_SIZE
