"""The ledger as users see it: what became of every message."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

_UNPARSED = "unparsed:"


class Ledger(BaseModel):
    """Messages by what became of them; received = counted + ignored + unparsed + too_old +
    too_new.
    """

    app: str
    start: int = Field(description="Unix seconds, by time of arrival")
    end: int = Field(description="Unix seconds, not included")
    promised: int = Field(description="What the sender said it put into its batches")
    received: int
    counted: int = Field(description="Gave at least one sample")
    ignored: int = Field(description="Application output, and lines we use nothing of")
    unparsed: dict[str, int] = Field(description="Could not be read, by reason")
    too_old: int
    too_new: int
    duplicate: int = Field(description="Came again in a batch that was counted before")
    other_drain: int = Field(
        description="Came through a drain that does not count, since another one does: see 'drains'"
    )
    spooled: int = Field(description="Waited on disk while the store was away")
    unverified: int = Field(
        description="Waited on disk for so long that a repetition could not be told any more"
    )
    lost_upstream: int = Field(description="Lost by Heroku before it reached us (L10)")


def ledger_of(counts: Mapping[str, int], *, app: str, start: int, end: int) -> Ledger:
    """The ledger from its counts by name, as rollups keep them."""
    unparsed = {
        name.removeprefix(_UNPARSED): messages
        for name, messages in sorted(counts.items())
        if name.startswith(_UNPARSED)
    }
    return Ledger(
        app=app,
        start=start,
        end=end,
        promised=counts.get("promised", 0),
        received=counts.get("received", 0),
        counted=counts.get("counted", 0),
        ignored=counts.get("ignored", 0),
        unparsed=unparsed,
        too_old=counts.get("too_old", 0),
        too_new=counts.get("too_new", 0),
        duplicate=counts.get("duplicate", 0),
        other_drain=counts.get("other_drain", 0),
        spooled=counts.get("spooled", 0),
        unverified=counts.get("unverified", 0),
        lost_upstream=counts.get("lost_upstream", 0),
    )
