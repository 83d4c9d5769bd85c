"""The last days of an app, hour by hour: failed shares, and minutes with lines.

Pure. The judgement of one minute needs it, so it is kept up to date minute by minute instead of
being read. Incidents are left out, so an outage does not become usual. They are found minutes after
they began: for that reason an interval counts only once it is SETTLING_S old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from app.judgement.facts import Interval
from app.judgement.verdict import Finding
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, align
from app.rollup.time_range import TimeRange

SETTLING_S = 30 * MINUTE_S
SHARE_MINUTES = 5  # the span of the highest share
REQUESTS_MIN = 20  # in that span: one failure of three requests is no share
SHARE_HOURS = 24
HEARD_DAYS = 7
# What the time of such findings counts is not usual: H14 of an app that is scaled to zero, too.
FAILING_KINDS = frozenset(
    {"failing", "no_dyno", "crash_loop", "restart", "fleet", "unreadable", "asleep"}
)
SLOW_KINDS = frozenset({*FAILING_KINDS, "slow"} - {"asleep"})  # H14 has no response time
QUIET_KINDS = frozenset({"silent", "fleet", "incomplete"})


class _Minute(NamedTuple):
    """What counts of an interval. `types`: requests and failed ones, by process type."""

    start_s: int
    length_s: int
    is_heard: bool
    is_complete: bool
    types: tuple[tuple[str, int, int], ...]

    @property
    def end_s(self) -> int:
        return self.start_s + self.length_s


class FailedHour(msgspec.Struct, array_like=True):
    """The requests of a process type in an hour, and its highest share of SHARE_MINUTES."""

    requests: int = 0
    failed: int = 0
    share_max: float = 0.0


class HeardHour(NamedTuple):
    """The minutes of an hour that are known, and those of them with a line.

    An hour with an incident stays unknown: `minutes` is UNKNOWN.
    """

    minutes: int = 0
    heard: int = 0


UNKNOWN = -1
_HEARD_HOURS = 4096  # different ones: nearly all that there are
# An app has hundreds of them, and most are alike.
_heard_hour = lru_cache(maxsize=_HEARD_HOURS)(HeardHour)


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """The stored form. Keys are the starts of hours in Unix seconds."""

    until_s: int
    heard: dict[int, HeardHour]
    failed: dict[int, dict[str, FailedHour]]


class PastHours:
    """The hours of one app.

    until_s  the end of the last interval that counts, Unix seconds
    heard    by the start of the hour
    failed   by the start of the hour and process type
    """

    def __init__(self) -> None:
        self.until_s = 0
        self.heard: dict[int, HeardHour] = {}
        self.failed: dict[int, dict[str, FailedHour]] = {}
        self._settling: deque[_Minute] = deque()
        self._recent: deque[_Minute] = deque(maxlen=SHARE_MINUTES)

    def add(self, interval: Interval, findings: Iterable[Finding]) -> None:
        """Add the next interval; one that is known already changes nothing.

        `findings`: all of the app that are open, or ended lately.
        """
        if interval.start_s < self.until_s:
            return
        self._settling.append(_minute_of(interval))
        incidents = list(findings)
        while self._settling and self._settling[0].end_s <= interval.end_s - SETTLING_S:
            self._count(self._settling.popleft(), incidents)

    def _count(self, minute: _Minute, findings: Sequence[Finding]) -> None:
        self.until_s = minute.end_s
        hour_s = align(minute.start_s, HOUR_S)
        span = TimeRange(minute.start_s, minute.end_s)
        minutes, heard_minutes = self.heard.get(hour_s, (0, 0))
        if minute.length_s > MINUTE_S:
            pass  # one line in 10 minutes does not say how many minutes had one
        elif overlaps(findings, QUIET_KINDS, span) or not minute.is_complete:
            minutes = UNKNOWN
        elif minutes != UNKNOWN:
            minutes += 1
            heard_minutes += minute.is_heard
        self.heard[hour_s] = _heard_hour(minutes, heard_minutes)
        if overlaps(findings, FAILING_KINDS, span):
            self._recent.clear()
        else:
            self._count_failed(hour_s, minute)
        self._forget(minute.end_s)

    def _count_failed(self, hour_s: int, minute: _Minute) -> None:
        if self._recent and self._recent[-1].end_s != minute.start_s:
            self._recent.clear()
        self._recent.append(minute)
        if not minute.types:
            return
        types = self.failed.setdefault(hour_s, {})
        for process_type, requests, failures in minute.types:
            hour = types.setdefault(process_type, FailedHour())
            hour.requests += requests
            hour.failed += failures
            if failures:
                hour.share_max = max(hour.share_max, self._recent_share(process_type))

    def _recent_share(self, process_type: str) -> float:
        last = self._recent[-1]
        first_s = min(last.end_s - SHARE_MINUTES * MINUTE_S, last.start_s)
        requests = failures = 0
        for minute in self._recent:
            if minute.start_s < first_s:
                continue
            for name, minute_requests, minute_failed in minute.types:
                if name == process_type:
                    requests += minute_requests
                    failures += minute_failed
        return failures / requests if requests >= REQUESTS_MIN else 0.0

    def _forget(self, now_s: int) -> None:
        for hours, kept_s in (
            (self.heard, (HEARD_DAYS + 1) * DAY_S),
            (self.failed, (SHARE_HOURS + 1) * HOUR_S),
        ):
            for hour_s in [hour_s for hour_s in hours if hour_s < now_s - kept_s]:
                del hours[hour_s]

    def failed_shares(self, at_s: int) -> tuple[dict[str, float], dict[str, float]]:
        """The mean and the highest share of failed requests in the 24 hours before `at_s`."""
        sums: dict[str, FailedHour] = {}
        for hour_s, types in self.failed.items():
            if not at_s - SHARE_HOURS * HOUR_S - HOUR_S < hour_s < at_s:
                continue
            for process_type, hour in types.items():
                total = sums.setdefault(process_type, FailedHour())
                total.requests += hour.requests
                total.failed += hour.failed
                total.share_max = max(total.share_max, hour.share_max)
        means = {
            process_type: total.failed / total.requests
            for process_type, total in sums.items()
            if total.requests
        }
        return means, {process_type: total.share_max for process_type, total in sums.items()}

    def heard_share(self, at_s: int) -> float | None:
        """The lowest share of minutes with lines, in this hour and the one before, of past days.

        None if no such hour of a past day is known.
        """
        hour_s = align(at_s, HOUR_S)
        shares = []
        for day in range(1, HEARD_DAYS + 1):
            hours = [
                hour
                for past_s in (hour_s - day * DAY_S - HOUR_S, hour_s - day * DAY_S)
                if (hour := self.heard.get(past_s)) and hour.minutes > 0
            ]
            if hours:
                minutes = sum(hour.minutes for hour in hours)
                shares.append(sum(hour.heard for hour in hours) / minutes)
        return min(shares, default=None)

    def learn_heard(self, hours: Mapping[int, HeardHour]) -> None:
        """Add hours from before the app was watched, by their start."""
        self.heard = {
            **{hour_s: _heard_hour(*hour) for hour_s, hour in hours.items()},
            **self.heard,
        }

    def pack(self) -> bytes:
        """Encode for the store (MessagePack)."""
        return msgspec.msgpack.encode(_Stored(self.until_s, self.heard, self.failed))

    @classmethod
    def unpack(cls, data: bytes) -> PastHours:
        """
        Raises:
            msgspec.MsgspecError: the data is damaged.
        """
        stored = msgspec.msgpack.decode(data, type=_Stored)
        past = cls()
        past.until_s = stored.until_s
        past.heard = {hour_s: _heard_hour(*hour) for hour_s, hour in stored.heard.items()}
        past.failed = stored.failed
        return past


def _minute_of(interval: Interval) -> _Minute:
    return _Minute(
        interval.start_s,
        interval.length_s,
        interval.is_heard,
        interval.is_complete,
        tuple((name, facts.requests, facts.failed) for name, facts in interval.types.items()),
    )


def overlaps(findings: Iterable[Finding], kinds: frozenset[str], span: TimeRange) -> bool:
    """Whether a finding of these kinds lasted at any time of the span."""
    return any(
        finding.kind in kinds
        and finding.since_s < span.end_s
        and (not finding.until_s or finding.until_s > span.start_s)
        for finding in findings
    )
