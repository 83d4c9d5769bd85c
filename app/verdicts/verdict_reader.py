"""Reads whether apps are all right, now or in any range.

Verdicts of the present are stored, and are the answer later: pages, lists and alerts say the same.
Only times in which no worker judged the app are judged on demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from app.judgement.review_apps import DEFAULT_GLOBS
from app.judgement.verdict import STATES, Episode, Finding, State, Verdict
from app.judgement.wording import describe_brief, summarize
from app.rollup.codec import NewerVersion, PackError
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, Resolution, align, resolutions
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.rollup.time_range import TimeRange
from app.storage.interface.alerts import EPISODES_LENGTH_MAX, AlertReader, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.rollups import RollupReader
from app.storage.interface.status import StatusReader
from app.verdicts.app_judges import AppJudges, StoredState
from app.verdicts.spooling import read_spooling_since
from app.verdicts.verdict_record import VerdictRecord, unpack_episodes, unpack_verdict_records

STALE_S = 180  # a verdict that is older is judged anew
EARLY_AFTER_S = 15  # after its end, a minute may be judged
NEW_S = 180  # after its first line, an app without a verdict is new
PRESENT_S = 2 * MINUTE_S  # a range that ends so recently is about the present
ON_DEMAND_APPS_MAX = 20  # in one call, as each takes about 0.1 s
WATCHED_S = 2 * DAY_S  # an app that is silent for longer stays as it was judged last
EARLIER_MAX = 2  # findings that are over, in the summary of an app that is all right
_DEFAULT_TIERS = resolutions(DAY_S, 15 * DAY_S, 90 * DAY_S)
# Over a range, a problem matters more than that a part of it is unknown.
_RANGE_ORDER: tuple[State, ...] = (
    *("down", "silent", "unreadable", "degraded", "unknown", "maintenance", "idle", "ok"),
)  # fmt: skip


class VerdictStore(RollupReader, AlertReader, StatusReader, Protocol):
    """Reads rollups, verdicts and the heartbeats of workers."""


class VerdictReader:
    """Reads stored verdicts and episodes, and judges where there are none."""

    def __init__(
        self,
        store: VerdictStore,
        tiers: Sequence[Resolution] = _DEFAULT_TIERS,
        review_apps: Sequence[str] = DEFAULT_GLOBS,
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            store: holds the rollups and verdicts of the apps.
            tiers: the stored resolutions, finest first.
            review_apps: glob patterns of apps that come and go with a pull request.
            limits: the limits on names in an interval.
        """
        self._store = store
        self._limits = limits
        self._tiers = tiers
        self._review_apps = tuple(review_apps)

    async def current(self, apps: Sequence[SeenApp], now_s: float) -> dict[str, Verdict]:
        """The present verdict of each of these apps.

        If no worker judges, some are judged here. The others are "unknown".

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        records = await self.current_records(apps, now_s)
        return {app: record.verdict for app, record in records.items()}

    async def current_records(
        self, apps: Sequence[SeenApp], now_s: float
    ) -> dict[str, VerdictRecord]:
        """The present verdict of each of these apps, as `current`; with its figures if a worker
        judged it within STALE_S.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        (packed_records,) = await self._store.alert_tables(AlertTable.VERDICTS)
        names = {seen_app.app for seen_app in apps}
        records = unpack_verdict_records(
            {app: data for app, data in packed_records.items() if app in names}
        )
        current = {}
        stale_apps = []
        for seen_app in apps:
            record = records.get(seen_app.app)
            if record is not None and _is_fresh(record, seen_app, now_s):
                current[seen_app.app] = record
            else:
                stale_apps.append(seen_app)
        # Those of which lines came lately are worth the most.
        stale_apps.sort(key=lambda seen_app: -seen_app.last_seen_s)
        verdicts = [_not_judged(app.app, now_s) for app in stale_apps[ON_DEMAND_APPS_MAX:]]
        if stale_apps:
            judged_apps = stale_apps[:ON_DEMAND_APPS_MAX]
            verdicts += (await self._judge_now(judged_apps, records, now_s)).values()
        current |= {verdict.app: VerdictRecord(verdict) for verdict in verdicts}
        return {seen_app.app: current[seen_app.app] for seen_app in apps}

    async def _judge_now(
        self, apps: Sequence[SeenApp], records: dict[str, VerdictRecord], now_s: float
    ) -> dict[str, Verdict]:
        until_s = align(int(now_s) - EARLY_AFTER_S, MINUTE_S)
        spooling_s = await read_spooling_since(self._store)
        judges = AppJudges(
            self._store,
            self._tiers,
            self._review_apps,
            limits=self._limits,
            # Lines are a little older than their arrival.
            incomplete_since_s=spooling_s and align(spooling_s, MINUTE_S) - MINUTE_S,
        )
        (pasts,) = await self._store.alert_tables(AlertTable.PASTS)
        verdicts = {}
        for seen_app in apps:
            app = seen_app.app
            stored = StoredState(records.get(app), pasts.get(app, b""))
            try:
                judge = await judges.ready(seen_app, stored, until_s, now_s)
            except NewerVersion:
                raise
            except PackError as error:  # of one app: the others are judged all the same
                verdicts[app] = _not_judged(app, now_s, f"its data cannot be read ({error})")
                continue
            if judge is not None and judge.verdict is not None:
                verdicts[app] = judge.verdict
            elif now_s - seen_app.first_seen_s < NEW_S:
                verdicts[app] = _new_app(seen_app)
            else:
                verdicts[app] = _not_judged(app, now_s)
        return verdicts

    async def over(self, seen_app: SeenApp, start_s: int, end_s: int, now_s: float) -> Verdict:
        """The verdict of an app over [start_s, end_s).

        If the range ends now, the state is the present one, and the findings of the range that are
        over follow. Of a range of the past, the state is the worst one in it.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        span = TimeRange(start_s, min(end_s, int(now_s)))
        judged = await self._judged(seen_app.app)
        if end_s >= now_s - PRESENT_S:
            current = (await self.current([seen_app], now_s))[seen_app.app]
            findings = await self._findings(seen_app, judged, span, now_s)
            return _with_earlier(current, findings)
        findings = await self._findings(seen_app, judged, span, now_s)
        return _past_verdict(seen_app.app, findings, span)

    async def episodes(self, app: str, start_s: int, end_s: int) -> list[Episode]:
        """The stored episodes of an app that lie at least partly in [start_s, end_s), newest first.

        Raises:
            StoreUnavailable
        """
        records = (await self._store.episodes([app], EPISODES_LENGTH_MAX)).get(app, [])
        return [
            episode
            for episode in unpack_episodes(records)
            if episode.finding.since_s < end_s and episode.finding.until_s > start_s
        ]

    async def _judged(self, app: str) -> _Judged:
        (records,) = await self._store.alert_tables(AlertTable.VERDICTS)
        data = records.get(app)
        record = unpack_verdict_records({app: data}).get(app) if data else None
        packed_episodes = (await self._store.episodes([app], EPISODES_LENGTH_MAX)).get(app, [])
        ended = [episode.finding for episode in unpack_episodes(packed_episodes)]
        if record is None:
            return _Judged(TimeRange(0, 0), ended)
        span = TimeRange(record.judged_since_s, record.judged_until_s)
        return _Judged(span, [*record.open_findings, *ended])

    async def _findings(
        self, seen_app: SeenApp, judged: _Judged, span: TimeRange, now_s: float
    ) -> list[Finding]:
        """All findings of a range: the stored ones, and where there are none, those judged now."""
        findings = list(judged.findings)
        judges = AppJudges(self._store, self._tiers, self._review_apps, limits=self._limits)
        until_s = align(int(now_s) - EARLY_AFTER_S, MINUTE_S)
        for part in _outside(span, judged.span, until_s):
            findings += await judges.judge_range(seen_app, part.start_s, part.end_s, now_s)
        return _without_twins(
            finding
            for finding in findings
            if finding.since_s < span.end_s
            and (not finding.until_s or finding.until_s > span.start_s)
        )


class _Judged(NamedTuple):
    """The range in which an app was judged minute by minute, and all stored findings."""

    span: TimeRange
    findings: list[Finding]


def _is_fresh(record: VerdictRecord, seen_app: SeenApp, now_s: float) -> bool:
    if now_s - record.verdict.judged_s <= STALE_S:
        return True
    is_watched = now_s - seen_app.last_seen_s < WATCHED_S
    return not is_watched and record.verdict.judged_s >= seen_app.last_seen_s


def _new_app(seen_app: SeenApp) -> Verdict:
    since_s = seen_app.first_seen_s
    summary = "New: the first log lines have just arrived."
    return Verdict(seen_app.app, "ok", since_s, 0, since_s, summary)


def _not_judged(app: str, now_s: float, reason: str = "no worker judges this app") -> Verdict:
    return Verdict(
        app,
        "unknown",
        0,
        0,
        int(now_s),
        f"Not judged: {reason}. Check /readyz.",
        is_complete=False,
    )


def _outside(span: TimeRange, judged: TimeRange, until_s: int) -> list[TimeRange]:
    """The parts of a range that were not judged; a little more, to see how a problem goes on."""
    end_s = min(span.end_s + HOUR_S, until_s)
    if not judged:
        parts = [TimeRange(span.start_s, end_s)]
    else:
        parts = [
            TimeRange(span.start_s, min(end_s, judged.start_s)),
            TimeRange(max(span.start_s, judged.end_s), end_s),
        ]
    return [part for part in parts if part and part.start_s < span.end_s]


def _without_twins(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out findings of the same kind that overlap an earlier one of the list."""
    unique: list[Finding] = []
    for finding in findings:
        if not any(
            (other.kind, other.process_type) == (finding.kind, finding.process_type)
            and (not other.until_s or finding.since_s < other.until_s)
            and (not finding.until_s or other.since_s < finding.until_s)
            for other in unique
        ):
            unique.append(finding)
    return unique


def _with_earlier(current: Verdict, findings: Sequence[Finding]) -> Verdict:
    """The present verdict, followed by the findings that are over."""
    ended = sorted(
        (finding for finding in findings if finding.until_s),
        key=lambda finding: (STATES.index(finding.state), -finding.since_s),
    )
    summary = current.summary
    if current.state in ("ok", "idle"):
        problems = [finding for finding in ended if finding.state != "ok"]
        earlier = [describe_brief(finding, current.judged_s) for finding in problems]
        summary = " ".join([summary, *earlier[:EARLIER_MAX]])
    return Verdict(
        current.app,
        current.state,
        current.since_s,
        current.until_s,
        current.judged_s,
        summary,
        (*current.findings, *ended),
        current.is_complete,
    )


def _past_verdict(app: str, findings: Sequence[Finding], span: TimeRange) -> Verdict:
    """The verdict over a range of the past."""
    lasting = [
        finding
        for finding in findings
        if finding.state not in ("ok", "idle") or _covers(finding, span)
    ]
    order = sorted(
        findings, key=lambda finding: (_RANGE_ORDER.index(finding.state), finding.since_s)
    )
    states: list[State] = [finding.state for finding in lasting]
    state: State = min(states, key=_RANGE_ORDER.index) if states else "ok"
    worst = [finding for finding in lasting if finding.state == state]
    since_s = min((finding.since_s for finding in worst), default=span.start_s)
    until_s = span.end_s
    if worst and state != "ok":
        until_s = 0 if any(not f.until_s for f in worst) else max(f.until_s for f in worst)
    return Verdict(
        app,
        state,
        since_s,
        until_s,
        span.end_s,
        summarize(state, order, span.end_s, start_s=span.start_s),
        tuple(order),
        is_complete=not any(finding.kind == "incomplete" for finding in findings),
    )


def _covers(finding: Finding, span: TimeRange) -> bool:
    end_s = finding.until_s or span.end_s
    return finding.since_s <= span.start_s and end_s >= span.end_s


async def stored_verdicts(store: AlertReader) -> dict[str, Verdict]:
    """The verdicts by app as they are stored, also those that are old.

    Raises:
        StoreUnavailable
    """
    (records,) = await store.alert_tables(AlertTable.VERDICTS)
    return {app: record.verdict for app, record in unpack_verdict_records(records).items()}


# --- for a reader that asks once ------------------------------------------------------------------


async def current_verdicts(
    store: VerdictStore,
    apps: Sequence[SeenApp],
    now_s: float,
    tiers: Sequence[Resolution] = _DEFAULT_TIERS,
    review_apps: Sequence[str] = DEFAULT_GLOBS,
) -> dict[str, Verdict]:
    """The present verdict of each of these apps; VerdictReader.current says more."""
    return await VerdictReader(store, tiers, review_apps).current(apps, now_s)
