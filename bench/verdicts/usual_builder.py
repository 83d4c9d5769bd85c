"""What is usual for a simulated app: what the service would read from its past.

Of the past it knows the requests and failures by hour with the highest share of 5 minutes, the
response times by 10 minutes, and the minutes heard and those with R14 by hour. Incidents and
restarts are left out: the truth says when they were, where the service has its own findings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from app.judgement.facts import Interval, PastP95, Usual
from app.rollup.sketch import Bins
from bench.verdicts.app_model import DAY_S, HOUR_S, MINUTE_S
from bench.verdicts.response_times import p95_of

SLOT_S = 600
SETTLING_S = 30 * MINUTE_S  # a minute counts once it is so old
SPAN_MINUTES = 5
SPAN_REQUESTS_MIN = 20  # a share of fewer requests says little
P95_REQUESTS_MIN = 60
POOLED_REQUESTS = 500  # of fewer, the highest p95 of several is a matter of chance
SHARE_HOURS = 25
QUOTA_CODE = "R14"
WEB = "web"


class UsualBuilder:
    """Collects the past of one app, and says what is usual at a time."""

    def __init__(self, known_since_s: int) -> None:
        self._known_since_s = known_since_s
        self._settling: deque[tuple[int, int, int]] = deque()  # (start, requests, failed)
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=SPAN_MINUTES)
        self._hours: dict[int, list[float]] = {}  # start -> [requests, failed, highest share]
        self._slots: dict[int, Bins] = {}
        self._minutes_heard: dict[int, int] = {}  # by start of the hour
        self._quota_minutes: dict[int, dict[str, int]] = {}
        self._hourly: tuple[int, Usual] = (-1, Usual())

    def add(self, interval: Interval, *, is_excused: bool = False) -> None:
        """Add a minute that is over; `is_excused` in an incident or restart."""
        at_s = interval.start_s
        hour_s = at_s - at_s % HOUR_S
        if interval.messages or interval.unparsed or is_excused:
            self.add_heard(hour_s, 1)
        if is_excused:
            return
        for process_type in {
            source.partition(".")[0] for source, code in interval.codes if code == QUOTA_CODE
        }:
            hour = self._quota_minutes.setdefault(hour_s, {})
            hour[process_type] = hour.get(process_type, 0) + 1
        web = interval.types.get(WEB)
        if web:
            self.add_counts(at_s, web.requests, web.failed)
            self.add_times(at_s, web.times)

    def add_counts(self, at_s: int, requests: int, failed: int) -> None:
        """Add what a minute counted."""
        self._settling.append((at_s, requests, failed))

    def add_times(self, at_s: int, times: Mapping[int, int]) -> None:
        """Add the response times of up to 10 minutes."""
        _add(self._slots.setdefault(at_s - at_s % SLOT_S, {}), times)

    def add_heard(self, hour_s: int, minutes: int) -> None:
        """Add minutes in which something was heard."""
        self._minutes_heard[hour_s] = self._minutes_heard.get(hour_s, 0) + minutes

    def add_quota_minutes(self, hour_s: int, process_type: str, minutes: int) -> None:
        """Add minutes with R14."""
        self._quota_minutes.setdefault(hour_s, {})[process_type] = minutes

    def usual(self, at_s: int) -> Usual:
        """What is usual in the minute from `at_s` on."""
        hour_s = at_s - at_s % HOUR_S
        if self._hourly[0] != hour_s:
            past = PastP95(self._highest_p95(hour_s - DAY_S), self._highest_p95(hour_s - 7 * DAY_S))
            usual = Usual(
                p95={WEB: past} if past != (None, None) else {},
                heard_share=self._lowest_heard_share(hour_s),
                quota_minutes=self._quota_yesterday(hour_s),
            )
            self._hourly = hour_s, usual
        self._settle(at_s)
        requests = failed = highest = 0.0
        for past_s, hour in self._hours.items():
            if past_s > at_s - SHARE_HOURS * HOUR_S:
                requests += hour[0]
                failed += hour[1]
                highest = max(highest, hour[2])
        return self._hourly[1]._replace(
            history_s=max(0, at_s - self._known_since_s),
            failed_share={WEB: failed / requests} if requests else {},
            failed_share_max={WEB: highest} if requests else {},
        )

    def _settle(self, now_s: int) -> None:
        """Count the minutes that are old enough."""
        recent = self._recent
        while self._settling and self._settling[0][0] < now_s - SETTLING_S:
            at_s, requests, failed = self._settling.popleft()
            if recent and recent[-1][0] != at_s - MINUTE_S:
                recent.clear()
            recent.append((at_s, requests, failed))
            hour = self._hours.setdefault(at_s - at_s % HOUR_S, [0, 0, 0.0])
            hour[0] += requests
            hour[1] += failed
            total = sum(minute[1] for minute in recent)
            if failed and total >= SPAN_REQUESTS_MIN:
                hour[2] = max(hour[2], sum(minute[2] for minute in recent) / total)
        while self._hours and next(iter(self._hours)) < now_s - SHARE_HOURS * HOUR_S:
            del self._hours[next(iter(self._hours))]

    def _highest_p95(self, hour_s: int) -> float | None:
        """From an hour before to an hour after; slots in a row make pools of enough requests."""
        pools: list[Bins] = []
        pool: Bins = {}
        for slot_s in range(hour_s - HOUR_S, hour_s + 2 * HOUR_S, SLOT_S):
            _add(pool, self._slots.get(slot_s, {}))
            if sum(pool.values()) >= POOLED_REQUESTS:
                pools.append(pool)
                pool = {}
        if pools:
            _add(pools[-1], pool)
        elif sum(pool.values()) >= P95_REQUESTS_MIN:
            pools.append(pool)
        return max((p95_of(pool) or 0.0 for pool in pools), default=None)

    def _lowest_heard_share(self, hour_s: int) -> float | None:
        """The lowest share of minutes heard in this hour and the one before, by past day."""
        shares = []
        for day in range(1, 8):
            past_s = hour_s - day * DAY_S
            if past_s - HOUR_S < self._known_since_s:
                break
            hours = (past_s - HOUR_S, past_s)
            shares.append(sum(self._minutes_heard.get(hour, 0) for hour in hours) / 120)
        return min(shares, default=None)

    def _quota_yesterday(self, hour_s: int) -> dict[str, int]:
        sums: dict[str, int] = {}
        for past_s in range(hour_s - DAY_S - HOUR_S, hour_s - DAY_S + 2 * HOUR_S, HOUR_S):
            for process_type, minutes in self._quota_minutes.get(past_s, {}).items():
                sums[process_type] = sums.get(process_type, 0) + minutes
        return sums


def _add(bins: Bins, added: Mapping[int, int]) -> None:
    for index, count in added.items():
        bins[index] = bins.get(index, 0) + count
