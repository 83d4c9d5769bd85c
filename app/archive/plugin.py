"""The archive in the service: one worker writes it, all say how far it is behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.archive.archiver import Archiver
from app.archive.database import Database
from app.archive.errors import ArchiveError
from app.rollup.resolutions import HOUR_S
from app.storage.interface.errors import StoreError, without_addresses
from app.storage.interface.status import StatusStore

log = logging.getLogger(__name__)

TICK_S = 15.0
RETRY_S = 60.0
PAUSE_FACTOR = 3  # catching up takes a quarter of the time at most, so that lines go first
BEHIND_S = 3 * HOUR_S
FAILING_S = 120  # a failure is reported once it has lasted so long
STATUS = "archive"  # the status record of the worker that writes
_STATUS_TTL_MS = 600_000


class ArchiveStatus(NamedTuple):
    """How the archive is doing, as the worker that writes it published.

    Attributes:
        archived_until_s: all closed hours before are archived, Unix seconds; 0 if unknown.
        hours: closed hours that are not archived yet.
        changes: archived hours that changed and are to be written again.
        error: why nothing can be written; "" if all is well.
        failing_since_s: since when; 0 if all is well.
    """

    archived_until_s: int = 0
    hours: int = 0
    changes: int = 0
    error: str = ""
    failing_since_s: int = 0


class ArchivePlugin:
    """The service's background plugin for the archive (app.service.wiring.BackgroundPlugin)."""

    def __init__(
        self,
        archiver: Archiver,
        database: Database,
        store: StatusStore,
        *,
        is_leader: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            is_leader: whether this worker is the one that writes.
            clock: returns Unix time in seconds.
        """
        self._archiver = archiver
        self._database = database
        self._store = store
        self._is_leader = is_leader
        self._clock = clock
        self._status = ArchiveStatus()

    async def run(self) -> None:
        """Write while this worker is the leader, and read the status, until cancelled."""
        try:
            while True:  # noqa: ASYNC110  # a pause between pieces of work, no polling
                await asyncio.sleep(await self.work())
        finally:
            await self._database.close()

    async def work(self) -> float:
        """Do a piece of the work; returns the pause until the next one, in seconds."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            if not self._is_leader():
                self._status = read_status(await self._store.statuses())
                return TICK_S
            has_more = await self._advance()
        except StoreError as error:  # its own notices say so
            log.debug("archive: the store is unavailable: %s", error)
            return TICK_S
        if self._status.error:
            return RETRY_S
        return PAUSE_FACTOR * (loop.time() - began_s) if has_more else TICK_S

    async def _advance(self) -> bool:
        has_more = False
        error_text = ""
        until_s, hours, changes = self._status[:3]
        try:
            has_more = await self._archiver.advance()
            until_s = (await self._archiver.progress()).archived_until_s
            hours, changes = await self._archiver.backlog()
        except StoreError:
            raise
        except Exception as error:  # no failure may end the task
            if not isinstance(error, ArchiveError):
                log.exception("archive: an unexpected failure")
            error_text = str(error) or type(error).__name__
            if until_s:
                closed_s = self._archiver.closed_until_s(self._clock())
                hours = max((closed_s - until_s) // HOUR_S, 0)
        if error_text and error_text != self._status.error:
            log.error("archive: %s", error_text)
        elif self._status.error and not error_text:
            log.info("archive: it can be written again")
        since_s = (self._status.failing_since_s or int(self._clock())) if error_text else 0
        self._status = ArchiveStatus(until_s, hours, changes, error_text, since_s)
        await self._store.write_status(
            STATUS,
            {name: str(value) for name, value in self._status._asdict().items()},
            ttl_ms=_STATUS_TTL_MS,
        )
        return has_more

    def notices(self) -> list[str]:
        """A sentence if the archive cannot be written, or is far behind."""
        status = self._status
        behind = f"The archive is {status.hours} hours behind"
        if status.error and self._clock() - status.failing_since_s >= FAILING_S:
            hours = f"{behind}: " if status.hours else "The archive cannot be written: "
            return [hours + without_addresses(status.error)]
        if not status.error and status.hours * HOUR_S >= BEHIND_S:
            return [f"{behind} and catching up."]
        return []

    def health(self) -> dict[str, Any]:
        """The archive in /readyz."""
        status = self._status
        return {
            "archive": {
                "status": "degraded" if self.notices() else "ok",
                "problems": self.notices(),
                "archived_until": status.archived_until_s,
                "hours_behind": status.hours,
                "changed_hours": status.changes,
            }
        }

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """The metrics of the archive, given all status records in the store."""
        return _ArchiveCollector(read_status(heartbeats))


def read_status(records: Mapping[str, Mapping[str, str]]) -> ArchiveStatus:
    """The published status; one without a time if no worker has published lately."""
    fields = records.get(STATUS)
    if not fields:
        return ArchiveStatus()
    until_s, hours, changes, since_s = (
        int(fields[name]) for name in ("archived_until_s", "hours", "changes", "failing_since_s")
    )
    return ArchiveStatus(until_s, hours, changes, fields["error"], since_s)


class _ArchiveCollector(Collector):
    def __init__(self, status: ArchiveStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        if not self._status.archived_until_s and not self._status.error:
            return
        for name, help_text, value in (
            (
                "behind_seconds",
                "Length of the closed hours that are not in the archive yet",
                self._status.hours * HOUR_S,
            ),
            (
                "changed_hours",
                "Archived hours that changed and are to be written again",
                self._status.changes,
            ),
            (
                "failing",
                "1 while the archive cannot be written",
                int(bool(self._status.error)),
            ),
        ):
            yield GaugeMetricFamily(f"dynometer_archive_{name}", help_text, value)
