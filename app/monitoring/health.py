"""Whether the service would take a batch now, and whether its background work keeps up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from app.folding.fold_worker import FoldWorker
from app.ingest.pipeline import IngestPipeline
from app.storage.interface import Store, StoreUnavailable

FOLDING_STALLED_S = 120  # two sweeps
BACKLOG_MAX = 4_096  # batches of one app; folding then lags by minutes


class HealthReport(NamedTuple):
    """`ready`: a POST would be accepted now; `body`: as /readyz shows it."""

    ready: bool
    body: dict[str, Any]


class HealthCheck:
    """Looks at the store, the spool and the folder, and remembers since when something is wrong."""

    def __init__(
        self,
        store: Store,
        folder: FoldWorker,
        pipeline: IngestPipeline,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._folder = folder
        self._pipeline = pipeline
        self._clock = clock
        self._since: dict[str, tuple[str, int]] = {}

    async def report(self) -> HealthReport:
        """Look now."""
        unfit: list[str] = []
        refusals: list[str] = []
        backlog: dict[str, int] = {}
        try:
            unfit = await self._store.problems()
            apps = [seen.app for seen in await self._store.seen_apps()]
            backlog = await self._store.inbox_lengths(apps)
        except StoreUnavailable as error:
            refusals = [str(error)]
        if not refusals and self._pipeline.sink.store_unavailable:
            refusals = [self._pipeline.sink.last_error]
        elif not refusals and (waiting := self._pipeline.notice()):  # of another worker, perhaps
            refusals = [waiting]
        spool = self._pipeline.describe()
        taken_by_spool = self._pipeline.spool is not None and not self._pipeline.rejection_reason
        ready = not unfit and (not refusals or taken_by_spool)
        folding = [] if unfit or refusals else self._folding_problems(backlog)
        return HealthReport(
            ready=ready,
            body={
                "ready": ready,
                "store": self._part("store", unfit + refusals),
                "spool": spool,
                "folding": {
                    **self._part("folding", folding),
                    "backlog_batches": sum(backlog.values()),
                    "last_success": int(self._folder.last_success_s),
                },
            },
        )

    def _folding_problems(self, backlog: dict[str, int]) -> list[str]:
        problems = [self._folder.last_error] if self._folder.last_error else []
        if (longest := max(backlog.values(), default=0)) > BACKLOG_MAX:
            problems.append(f"{longest} batches of one app wait to be folded")
        if not self._folder.alive(FOLDING_STALLED_S):
            problems.append("the folding task of this worker has stopped: restart the service")
        return problems

    def _part(self, name: str, problems: list[str]) -> dict[str, Any]:
        status = "degraded" if problems else "ok"
        known, since = self._since.get(name, ("", 0))
        if known != status:
            since = int(self._clock())
            self._since[name] = (status, since)
        return {"status": status, "since": since, "problems": problems}
