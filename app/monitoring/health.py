"""Health checks: whether the service can accept a batch now, and whether folding keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.access.access_copy import AccessCopy
from app.folding.fold_worker import FoldWorker
from app.ingest.pipeline import IngestPipeline
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.storage.interface.folding import BacklogReader
from app.storage.interface.identity import IdentifiedStore, StoreIdentity
from app.storage.interface.server import ServerStatus

FOLDING_STALLED_S = 120  # two sweeps of the fold worker
CHECK_PAUSE = 10  # checks take at most this fraction of the time
BACKLOG_MAX = 4_096  # batches of one app; folding then lags by minutes


class HealthReport(NamedTuple):
    """`ready`: whether a POST would be accepted now; `body`: the answer of /readyz."""

    ready: bool
    body: dict[str, Any]


class HealthStore(BacklogReader, IdentifiedStore, ServerStatus, Protocol):
    """What the checks need of the store."""


class HealthSource(Protocol):
    """An optional subsystem that adds its parts to the answer."""

    def health(self) -> Mapping[str, Any]:
        """Its parts, by name."""
        ...


class HealthCheck:
    """Checks store, spool and fold worker, and remembers when each status last changed."""

    def __init__(
        self,
        store: HealthStore,
        access: AccessCopy,
        folder: FoldWorker,
        pipeline: IngestPipeline,
        clock: Callable[[], float],
        plugins: Sequence[HealthSource] = (),
    ) -> None:
        self._store = store
        self._access = access
        self._folder = folder
        self._pipeline = pipeline
        self._clock = clock
        self._plugins = plugins
        self._check_task: asyncio.Task[HealthReport] | None = None
        self._next_check_s = 0.0
        self._status_since: dict[str, tuple[str, int]] = {}

    async def report(self) -> HealthReport:
        """The result of all checks, without addresses of the store: strangers may read it.

        Concurrent calls share one check. Its result is used again for CHECK_PAUSE times as long as
        it took, so however many ask, checks cost little.
        """
        loop = asyncio.get_running_loop()
        if self._check_task is None or (
            self._check_task.done() and loop.time() >= self._next_check_s
        ):
            self._check_task = asyncio.create_task(self._timed_check(), name="health check")
        return await asyncio.shield(self._check_task)

    async def _timed_check(self) -> HealthReport:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        try:
            return await self._check()
        finally:
            self._next_check_s = loop.time() + CHECK_PAUSE * (loop.time() - start_s)

    async def _check(self) -> HealthReport:
        store_problems: list[str] = []
        store_errors: list[str] = []
        backlog: dict[str, int] = {}
        identity: StoreIdentity | None = None
        warnings: list[str] = []
        try:
            store_problems = await self._store.problems()
            warnings = await self._store.warnings()
            identity = await self._store.identity()
            apps = [sighting.app for sighting in await self._store.seen_apps()]
            backlog = await self._store.inbox_lengths(apps)
        except StoreUnavailable as error:
            store_errors = [str(error)]
        if not store_errors and self._pipeline.sink.store_unavailable:
            store_errors = [self._pipeline.sink.last_error]
        elif not store_errors and (spool_notice := self._pipeline.notice()):
            store_errors = [spool_notice]  # another worker may be the one that spools
        loss_notice = self._access.notice()  # known drains may send, so the service is ready
        spool = self._pipeline.describe()
        can_spool = self._pipeline.spool is not None and not self._pipeline.rejection_reason
        ready = not store_problems and (not store_errors or can_spool)
        folding = [] if store_problems or store_errors else self._folding_problems(backlog)
        return HealthReport(
            ready=ready,
            body={
                "ready": ready,
                "store": {
                    **self._component(
                        "store", [*store_problems, *store_errors, *filter(None, [loss_notice])]
                    ),
                    "lost_data": bool(loss_notice),
                    "warnings": [*map(without_addresses, warnings)],
                    "identity": identity and {"id": identity.id, "epoch": identity.epoch_s},
                },
                "spool": spool,
                "folding": {
                    **self._component("folding", folding),
                    "backlog_batches": sum(backlog.values()),
                    "last_success": int(self._folder.last_success_s),
                },
                **{
                    name: part for plugin in self._plugins for name, part in plugin.health().items()
                },
            },
        )

    def _folding_problems(self, backlog: dict[str, int]) -> list[str]:
        problems = [self._folder.last_error] if self._folder.last_error else []
        if (longest := max(backlog.values(), default=0)) > BACKLOG_MAX:
            problems.append(f"{longest} batches of one app wait to be folded (limit {BACKLOG_MAX})")
        if not self._folder.is_alive(FOLDING_STALLED_S):
            problems.append("the folding task of this worker has stopped. Restart the service.")
        return problems

    def _component(self, name: str, problems: list[str]) -> dict[str, Any]:
        status = "degraded" if problems else "ok"
        previous, since = self._status_since.get(name, ("", 0))
        if previous != status:
            since = int(self._clock())
            self._status_since[name] = (status, since)
        return {"status": status, "since": since, "problems": [*map(without_addresses, problems)]}
