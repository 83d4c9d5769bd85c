"""Reads the archive for work that must not wait for it, such as alerts."""

from __future__ import annotations

from typing import LiteralString

from app.archive.archive_reader import ArchiveReader
from app.archive.database import Database
from app.archive.interval_rollups import PackedInterval
from app.archive.patience import Patience

WAIT_S_MAX = 3.0  # in a minute; one read takes some milliseconds


class PromptReader(ArchiveReader):
    """An ArchiveReader whose reads wait for WAIT_S_MAX in a minute, all together."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._patience = Patience(WAIT_S_MAX)

    async def _rows(
        self, query: LiteralString, app: str, start_s: int, end_s: int, bytes_max: int
    ) -> list[PackedInterval]:
        return await self._patience.wait(super()._rows(query, app, start_s, end_s, bytes_max))
