"""How it stands with the store and the disk in front of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.group_commit import BatchCommitter, GroupCommitter
from app.ingest.received_batch import OnStored
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer

_MEBIBYTE = 2**20


class WritePath(NamedTuple):
    """Where batches go, and who is called once the store has them."""

    sink: BatchSink
    committer: BatchCommitter
    on_stored: OnStored


WritePathBuilder = Callable[
    [Callable[[], BatchWriter], Callable[[BatchSink, OnStored], GroupCommitter], OnStored],
    WritePath,
]
"""Builds a write path from what makes a writer, what makes a committer, and a callback."""


class IngestPipeline(NamedTuple):
    """What this worker knows of it; `spool` and `catch_up` are None without a spool."""

    sink: BatchSink
    committer: BatchCommitter
    spool: Spool | None
    replayer: SpoolReplayer | None

    @property
    def rejection_reason(self) -> str:
        """Why batches are refused at present; "" when they are not."""
        return self.committer.rejection_reason

    def waiting_since_s(self) -> int:
        """Since when batches of any worker wait on this disk, Unix seconds; 0 when none do."""
        waiting = self.spool.status() if self.spool is not None else None
        return waiting.since_s if waiting is not None and waiting.bytes else 0

    def describe(self) -> dict[str, Any]:
        """The spool, of all workers, for machines."""
        if self.spool is None:
            return {"status": "none", "bytes": 0, "bytes_max": 0, "since": 0}
        waiting = self.spool.status()
        status = "full" if self.rejection_reason else "buffering" if waiting.bytes else "empty"
        return {
            "status": status,
            "bytes": waiting.bytes,
            "bytes_max": self.spool.bytes_max,
            "since": waiting.since_s,
        }

    def notice(self) -> str:
        """The same for people; "" when nothing is on disk."""
        waiting = self.spool.status() if self.spool is not None else None
        if self.spool is None or waiting is None or not waiting.bytes:
            return ""
        since = f" since {datetime.fromtimestamp(waiting.since_s, UTC):%H:%M} UTC"
        return (
            f"Buffering on disk{since if waiting.since_s else ''}: "
            f"{waiting.bytes / _MEBIBYTE:.1f} MiB of {self.spool.bytes_max / _MEBIBYTE:.0f}. "
            "It is counted as soon as the store is back."
        )


ID_MARGIN_S = 900  # ids outlive the longest stay in the spool by so much
