"""The judges of all apps, in the memory of the worker that holds the lease.

A judge needs the last hours of its app. It reads them once, when this worker begins to judge the
app, and then sees each minute once. Its verdict is stored after each minute, so that another
worker can take over. That worker then reads the last hours again.

Nothing here is written to the store. If a round cannot be written, the record in the store is not
the one that the judge of this process left: then the judge starts again from the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import NamedTuple, Protocol

import msgspec

from app.judgement.facts import AppProfile, Interval, Usual
from app.judgement.judge import WARM_UP_S, Judge
from app.judgement.review_apps import is_review_app
from app.judgement.verdict import Episode, Finding, Verdict
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, Resolution, align, align_up
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.alerts import AlertReader
from app.storage.interface.apps import SeenApp
from app.storage.interface.rollups import RollupReader
from app.verdicts.interval_reader import IntervalReader
from app.verdicts.past_hours import PastHours
from app.verdicts.recent_figures import RECENT_S, RecentFigures, RecentMinutes
from app.verdicts.usual_reader import HourUsual, UsualReader, usual_at
from app.verdicts.verdict_record import VerdictRecord, unpack_episodes

FIRST_SIGHT_S = DAY_S  # so much of the past of an app is judged when it is watched first
START_S = 3 * HOUR_S  # so much of that at once: the rest follows when all apps have begun
ROUND_MINUTES_MAX = 12_000  # of the past, in one round: some seconds
LEARNED_PER_JUDGED = 4  # so many times cheaper it is to learn a minute than to judge it
_EPISODES_READ = 100  # to leave incidents out of what is usual


class JudgedStore(RollupReader, AlertReader, Protocol):
    """Reads rollups and verdicts."""


class StoredState(NamedTuple):
    """The stored state of an app: its verdict, and the packed hours of its past."""

    record: VerdictRecord | None
    past: bytes


class AppJudge:
    """Judges one app, minute by minute.

    judged_since_s, judged_until_s, verdict   as in a VerdictRecord
    last_seen_s   when the last line of the app came, Unix seconds
    is_new   whether the time before `judged_since_s` should be judged too
    """

    def __init__(
        self,
        profile: AppProfile,
        judge: Judge,
        past: PastHours,
        usual_reader: UsualReader,
        recent: RecentMinutes,
        episodes: Sequence[Episode] = (),
    ) -> None:
        """`episodes`: the last ones of the app."""
        self.profile = profile
        self._usual_reader = usual_reader
        # The hours of an app begin at a minute of its own, so not all apps read in the same one.
        self._offset_s = sum(profile.app.encode()) % 60 * MINUTE_S
        self.judged_since_s = 0
        self.judged_until_s = 0
        self.last_seen_s = 0
        self.is_new = False
        self.verdict: Verdict | None = None
        self._judge = judge
        self._past = past
        self._recent = recent
        self._past_hour_s = 0  # of the last pack
        self._incidents = [episode.finding for episode in episodes]
        self._hour = HourUsual(0, {}, {})

    async def prepare(self, at_s: int) -> None:
        """Read the usual values for the hour of `at_s`, unless they are known.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        hour_s = align(at_s - self._offset_s, HOUR_S) + self._offset_s
        if hour_s != self._hour.at_s:
            self._hour = await self._usual_reader.read_hour(self.profile, hour_s, self._findings)

    @property
    def _findings(self) -> list[Finding]:
        return [*self._judge.open_findings, *self._incidents]

    def _usual(self, interval: Interval) -> Usual:
        return usual_at(self.profile, interval.end_s, self._hour, self._past)

    def learn(self, interval: Interval) -> None:
        """Show an interval of the past, without judging it."""
        self._judge.advance(self._note(interval), self._usual(interval), is_past=True)
        self._past.add(interval, self._findings)

    def advance(self, interval: Interval) -> Verdict:
        """Judge the next interval, of which nothing is missing any more."""
        self.verdict = self._judge.advance(self._note(interval), self._usual(interval))
        self._past.add(interval, self._findings)
        self.judged_until_s = interval.end_s
        return self.verdict

    def _note(self, interval: Interval) -> Interval:
        """Add an interval to the figures. Nothing else needs its rollup."""
        self._recent.add(interval)
        return interval._replace(rollup=None)

    def preview(self, interval: Interval) -> VerdictRecord:
        """The record with an interval that is not final: the next `advance` judges it again."""
        verdict = self._judge.preview(interval._replace(rollup=None), self._usual(interval))
        last_s = interval.end_s if interval.is_heard else self.last_seen_s
        return self._record(verdict, self._recent.preview(interval, last_s))

    def take_ended(self) -> list[Episode]:
        """The findings that have ended for good since the last call."""
        episodes = self._judge.take_ended()
        self.learn_episodes(episodes)
        return episodes

    def learn_episodes(self, episodes: Sequence[Episode]) -> None:
        """Add findings that are over: usual values leave their time out."""
        self._incidents = [*(episode.finding for episode in episodes), *self._incidents]
        del self._incidents[_EPISODES_READ:]

    def begin_earlier(self, earlier: Sequence[Finding]) -> None:
        """Let findings begin with those of `earlier`: the open ones of the time before."""
        self._judge.begin_earlier(earlier)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that last, and those that may go on."""
        return self._judge.open_findings

    def record(self) -> VerdictRecord | None:
        """The record for the store; None before the first verdict."""
        if self.verdict is None:
            return None
        return self._record(self.verdict, self._recent.figures(self.last_seen_s))

    def _record(self, verdict: Verdict, figures: RecentFigures) -> VerdictRecord:
        return VerdictRecord(
            verdict, self.open_findings, self.judged_since_s, self.judged_until_s, figures
        )

    def continues(self, record: VerdictRecord | None) -> bool:
        """Whether the stored record is the one that this judge left.

        It is not if another worker judged meanwhile, if the record could not be written, or if
        the app was removed.
        """
        if record is None:
            return self.verdict is None
        return record.judged_until_s == self.judged_until_s

    def take_past(self) -> bytes:
        """The packed hours of the past if they should be stored again, at most once an hour."""
        hour_s = align(self.judged_until_s, HOUR_S)
        if hour_s == self._past_hour_s:
            return b""
        self._past_hour_s = hour_s
        return self._past.pack()


class AppJudges:
    """Keeps the judges of all apps, and starts those that are missing."""

    def __init__(
        self,
        store: JudgedStore,
        tiers: Sequence[Resolution],
        review_apps: Sequence[str] = (),
        *,
        limits: CardinalityLimits = DEFAULT_LIMITS,
        incomplete_since_s: int = 0,
    ) -> None:
        """
        Args:
            store: holds the rollups and verdicts of the apps.
            tiers: the stored resolutions, finest first.
            review_apps: glob patterns of apps that come and go with a pull request.
            limits: the limits on names in an interval.
            incomplete_since_s: from when on lines are missing; 0 if none are.
        """
        self._incomplete_since_s = incomplete_since_s
        self._store = store
        self._review_apps = tuple(review_apps)
        self._intervals = IntervalReader(store, tiers, limits)
        self._usual_reader = UsualReader(store, tiers, limits)
        self._judges: dict[str, AppJudge] = {}
        self._minutes_left = ROUND_MINUTES_MAX

    def begin_round(self, apps: Sequence[str]) -> None:
        """Forget all other apps, and allow so many minutes of the past to be read again."""
        self._minutes_left = ROUND_MINUTES_MAX
        self._judges = {app: judge for app, judge in self._judges.items() if app in set(apps)}

    def clear(self) -> None:
        """Forget all apps: another worker judges now."""
        self._judges = {}

    def known(self, app: str) -> AppJudge | None:
        """The judge of an app that is ready; None if there is none."""
        return self._judges.get(app)

    def judged_until(self, at_s: int) -> dict[str, AppJudge]:
        """The judges by app whose last final minute ended at `at_s`."""
        return {app: judge for app, judge in self._judges.items() if judge.judged_until_s == at_s}

    def drop(self, app: str) -> None:
        """Forget an app, as its judge may have seen half of a minute."""
        self._judges.pop(app, None)

    async def ready(
        self, seen_app: SeenApp, stored: StoredState, until_s: int, now_s: float
    ) -> AppJudge | None:
        """The judge of an app, which has judged all that is older than `until_s`.

        None if too many apps were started in this round; the next one tries again.

        Args:
            seen_app: the app.
            stored: its stored state.
            until_s: newer minutes are left to the caller, which alerts.
            now_s: Unix seconds.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        app, record = seen_app.app, stored.record
        judge = self._judges.get(app)
        if judge is None or not judge.continues(record):
            since_s = _first_minute(seen_app, until_s, START_S)
            if record and record.judged_until_s < _first_minute(seen_app, until_s, FIRST_SIGHT_S):
                record = None  # nobody judged for so long that the app begins anew
            if record:
                since_s = record.judged_until_s
            if not self._spend(since_s - WARM_UP_S, since_s, until_s):
                return None
            profile = profile_of(seen_app, self._review_apps)
            judge = await self._start(profile, stored._replace(record=record), since_s, now_s)
        judge.last_seen_s = seen_app.last_seen_s
        await self._catch_up(judge, until_s, now_s)
        self._judges[app] = judge
        return judge

    async def backfill(self, seen_app: SeenApp, now_s: float) -> list[Episode]:
        """Judge the past of a new app, if this round has time for it.

        Returns:
            The findings that ended then.
        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        judge = self._judges[seen_app.app]
        first_s = _first_minute(seen_app, judge.judged_until_s, FIRST_SIGHT_S)
        end_s = judge.judged_since_s
        if not judge.is_new or first_s >= end_s:
            judge.is_new = False
            return []
        if not self._spend(first_s - WARM_UP_S, first_s, end_s):
            return []
        earlier = await self._judge_from(judge.profile, first_s, end_s, now_s)
        judge.is_new = False
        judge.judged_since_s = first_s
        episodes = earlier.take_ended()
        judge.learn_episodes(episodes)
        judge.begin_earlier(earlier.open_findings)
        return episodes

    def _spend(self, warm_s: int, since_s: int, until_s: int) -> bool:
        """Take the cost of learning and judging these minutes from the allowance of the round."""
        learned_minutes = max(since_s - warm_s, 0) // MINUTE_S
        minutes = max(until_s - since_s, 0) // MINUTE_S + learned_minutes // LEARNED_PER_JUDGED
        if minutes > self._minutes_left:
            return False
        self._minutes_left -= minutes
        return True

    async def _start(
        self, profile: AppProfile, stored: StoredState, since_s: int, now_s: float
    ) -> AppJudge:
        """A judge that has seen the hours before `since_s`, and goes on from there."""
        record = stored.record
        past = _unpack_past(stored.past)
        warm_s = since_s - WARM_UP_S
        if past.until_s < warm_s:
            past.learn_heard(await self._usual_reader.read_heard(profile, warm_s))
            async for interval in self._intervals.read_coarse(
                profile.app, warm_s - DAY_S, align(warm_s, MINUTE_S * 10)
            ):
                past.add(interval, ())
        episodes = await self._store.episodes([profile.app], _EPISODES_READ)
        judge = AppJudge(
            profile,
            Judge(profile, record.open_findings if record else ()),
            past,
            self._usual_reader,
            RecentMinutes(profile.first_seen_s, int(now_s) - RECENT_S),
            unpack_episodes(episodes.get(profile.app, ())),
        )
        judge.is_new = record is None
        judge.judged_since_s = record.judged_since_s if record else since_s
        judge.judged_until_s = since_s
        judge.verdict = record.verdict if record else None
        await judge.prepare(since_s)
        async for interval in self._read(profile, warm_s, since_s, now_s):
            judge.learn(interval)
            await asyncio.sleep(0)
        return judge

    async def _catch_up(self, judge: AppJudge, until_s: int, now_s: float) -> None:
        async for interval in self._read(judge.profile, judge.judged_until_s, until_s, now_s):
            if interval.start_s < judge.judged_until_s:
                continue  # it is coarser than those before, and overlaps the last one
            if interval.length_s < HOUR_S:
                await judge.prepare(interval.start_s)
            if not judge.is_new and not interval.is_heard:
                # Nobody judged then, so a lack of lines may be our own outage.
                judge.advance(interval._replace(is_complete=False))
            else:
                judge.advance(interval)
            await asyncio.sleep(0)

    async def _read(
        self, profile: AppProfile, start_s: int, end_s: int, now_s: float
    ) -> AsyncIterator[Interval]:
        first_s = max(start_s, align(profile.first_seen_s, MINUTE_S))
        if first_s >= end_s:
            return
        incomplete_since_s = self._incomplete_since_s or inf
        async for interval in self._intervals.read(profile.app, first_s, end_s, now_s):
            if interval.end_s > incomplete_since_s:
                yield interval._replace(is_complete=False)
            else:
                yield interval

    async def judge_range(
        self, seen_app: SeenApp, start_s: int, end_s: int, now_s: float
    ) -> list[Finding]:
        """The findings of a time that was not judged when it was the present, in order of time.

        Raises:
            StoreUnavailable, PackError, NewerVersion
        """
        profile = profile_of(seen_app, self._review_apps)
        first_s = max(align(start_s, HOUR_S), align(profile.first_seen_s, MINUTE_S))
        judge = await self._judge_from(profile, first_s, end_s, now_s)
        finished = [episode.finding for episode in judge.take_ended()]
        by_id = {finding.id: finding for finding in (*finished, *judge.open_findings)}
        return sorted(by_id.values(), key=lambda finding: finding.since_s)

    async def _judge_from(
        self, profile: AppProfile, start_s: int, end_s: int, now_s: float
    ) -> AppJudge:
        judge = await self._start(profile, StoredState(None, b""), start_s, now_s)
        await self._catch_up(judge, end_s, now_s)
        return judge


def _first_minute(seen_app: SeenApp, until_s: int, length_s: int) -> int:
    """The start of the last `length_s`, or the first minute of a younger app.

    Aligned to hours, so that no coarser interval lies across it.
    """
    first_s = align_up(until_s - length_s, HOUR_S)
    return min(max(first_s, align(seen_app.first_seen_s, MINUTE_S)), until_s)


def profile_of(seen_app: SeenApp, review_apps: Sequence[str]) -> AppProfile:
    """The lasting facts about an app. `review_apps`: glob patterns."""
    return AppProfile(
        seen_app.app,
        seen_app.first_seen_s,
        is_live=seen_app.origin.is_drain,
        is_review_app=is_review_app(seen_app.app, review_apps),
    )


def _unpack_past(data: bytes) -> PastHours:
    try:
        return PastHours.unpack(data) if data else PastHours()
    except msgspec.MsgspecError:  # of another version: it fills up again
        return PastHours()
