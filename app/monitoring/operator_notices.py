"""What every page says at its top, while there is something to say about the service itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.folding.memory_pressure import MemoryPressureGuard
from app.ingest.drain_loop import DrainLoopDetector
from app.ingest.pipeline import IngestPipeline


class NoticeSource(Protocol):
    """What else has something to say."""

    def notices(self) -> list[str]:
        """What the operator should do."""
        ...


class Notices(NamedTuple):
    """Where they come from."""

    pipeline: IngestPipeline
    memory_guard: MemoryPressureGuard
    loop_detector: DrainLoopDetector
    plugins: Sequence[NoticeSource] = ()

    @property
    def spool_notice(self) -> str:
        """What waits on disk, while figures are not complete; "" for nothing."""
        return self.pipeline.notice()

    @property
    def actions(self) -> list[str]:
        """What the operator should do."""
        full = self.memory_guard.notice()
        beside = [sentence for each in self.plugins for sentence in each.notices()]
        return [*([full] if full else []), *self.loop_detector.notices(), *beside]
