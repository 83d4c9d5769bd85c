"""Notices for the operator, at the top of every page while the service itself has a problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from app.access.access_copy import AccessCopy
from app.access.read_tokens import NOTHING, Permissions
from app.folding.memory_pressure import MemoryPressureGuard
from app.ingest.drain_loop import DrainLoopDetector
from app.ingest.pipeline import IngestPipeline
from app.monitoring.clock_watch import ClockWatch
from app.monitoring.store_warnings import StoreWarnings
from app.storage.append_only_file import damaged_parts


class NoticeSource(Protocol):
    """A plugin with notices of its own."""

    def notices(self) -> list[str]:
        """Sentences that name a problem and its fix."""
        ...


class Notices(NamedTuple):
    """Collects notices from all parts of the service."""

    pipeline: IngestPipeline
    access: AccessCopy
    clock_watch: ClockWatch
    store_warnings: StoreWarnings
    memory_guard: MemoryPressureGuard
    loop_detector: DrainLoopDetector
    data_dir: Path
    plugins: Sequence[NoticeSource] = ()

    @property
    def spool_notice(self) -> str:
        """The data that waits on disk, so that figures are incomplete; "" if there is none."""
        return self.pipeline.notice()

    def actions(self, permissions: Permissions) -> list[str]:
        """Sentences that name a problem and its fix, for a reader with these permissions."""
        if permissions == NOTHING:
            return []
        notices = (self.access.notice(), self.clock_watch.notice(), self.memory_guard.notice())
        return [
            *filter(None, notices),
            *self.store_warnings.sentences,
            *self.loop_detector.notices(permissions.allows),
            *map(str, damaged_parts(self.data_dir)),
            *(sentence for plugin in self.plugins for sentence in plugin.notices()),
        ]
