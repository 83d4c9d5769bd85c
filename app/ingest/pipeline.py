"""A worker's write path and spool, and their status for the rest of the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.group_commit import BatchCommitter, GroupCommitter
from app.ingest.received_batch import OnStored
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer

ID_MARGIN_S = 900  # the store remembers ids for this much longer than a batch may be in the spool
_MEBIBYTE = 2**20


class WritePath(NamedTuple):
    """The sink and committer for batches, and the callback for batches that were stored."""

    sink: BatchSink
    committer: BatchCommitter
    on_stored: OnStored


WritePathBuilder = Callable[
    [Callable[[], BatchWriter], Callable[[BatchSink, OnStored], GroupCommitter], OnStored],
    WritePath,
]
"""Builds a write path from a factory of writers, a factory of committers, and a callback."""


class IngestPipeline(NamedTuple):
    """A worker's write path and spool; `spool` and `replayer` are None without a spool."""

    sink: BatchSink
    committer: BatchCommitter
    spool: Spool | None
    replayer: SpoolReplayer | None

    @property
    def rejection_reason(self) -> str:
        """Why batches are rejected at present; "" if they are not."""
        return self.committer.rejection_reason

    def waiting_since_s(self) -> int:
        """Unix time since when batches of any worker wait on this disk; 0 if none do."""
        status = self.spool.status() if self.spool is not None else None
        return status.since_s if status is not None and status.bytes else 0

    def describe(self) -> dict[str, Any]:
        """The state of the spool, of all workers, as JSON fields."""
        if self.spool is None:
            return {"status": "none", "bytes": 0, "bytes_max": 0, "since": 0}
        status = self.spool.status()
        state = "full" if self.rejection_reason else "buffering" if status.bytes else "empty"
        return {
            "status": state,
            "bytes": status.bytes,
            "bytes_max": self.spool.bytes_max,
            "since": status.since_s,
        }

    def notice(self) -> str:
        """A notice for people while batches wait on disk; otherwise ""."""
        status = self.spool.status() if self.spool is not None else None
        if self.spool is None or status is None or not status.bytes:
            return ""
        since = f" since {datetime.fromtimestamp(status.since_s, UTC):%H:%M} UTC"
        return (
            f"Buffering on disk{since if status.since_s else ''}: "
            f"{status.bytes / _MEBIBYTE:.1f} MiB of {self.spool.bytes_max / _MEBIBYTE:.0f} MiB. "
            "These lines will be counted when the store is available again."
        )
