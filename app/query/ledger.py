"""The ledger as users see it: every message, by result."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from app.rollup.open_limits import DROPPED

_UNPARSED = "unparsed:"


class Ledger(BaseModel):
    """Messages by result. received = counted + ignored + unparsed + too_old + too_new."""

    app: str
    start: int = Field(description="Unix seconds, by time of arrival")
    end: int = Field(description="Unix seconds, not included")
    promised: int = Field(
        description="Messages the sender declared in its batches (Logplex-Msg-Count)"
    )
    received: int
    counted: int = Field(description="Yielded at least one sample")
    ignored: int = Field(description="Application output and lines without metrics")
    unparsed: dict[str, int] = Field(description="Could not be parsed, by reason")
    too_old: int
    too_new: int
    duplicate: int = Field(description="Repeated in a batch that had been counted before")
    other_drain: int = Field(
        description="Came through a second drain, which is not counted; see 'dynometer drains'"
    )
    spooled: int = Field(description="Spooled to disk while the store was unavailable")
    unverified: int = Field(description="Spooled for longer than duplicates can be detected")
    lost_upstream: int = Field(
        description="Lost before delivery, as the sender reports (L10, L12, L13, log-shuttle)"
    )
    dropped: dict[str, int] = Field(
        description="No messages, but values of custom, language and add-on metrics that are over "
        "a limit or unreadable, by family"
    )


def build_ledger(counts: Mapping[str, int], *, app: str, start: int, end: int) -> Ledger:
    """Build the ledger from the counts by name that rollups keep."""
    return Ledger(
        app=app,
        start=start,
        end=end,
        promised=counts.get("promised", 0),
        received=counts.get("received", 0),
        counted=counts.get("counted", 0),
        ignored=counts.get("ignored", 0),
        unparsed=_counts_by(counts, _UNPARSED),
        too_old=counts.get("too_old", 0),
        too_new=counts.get("too_new", 0),
        duplicate=counts.get("duplicate", 0),
        other_drain=counts.get("other_drain", 0),
        spooled=counts.get("spooled", 0),
        unverified=counts.get("unverified", 0),
        lost_upstream=counts.get("lost_upstream", 0),
        dropped=_counts_by(counts, DROPPED),
    )


def _counts_by(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count
        for name, count in sorted(counts.items())
        if name.startswith(prefix)
    }
