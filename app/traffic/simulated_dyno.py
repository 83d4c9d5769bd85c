"""Simulates one dyno: its memory, load and restarts. Pure and seeded; time is an argument.

Behavior over time is written as a *process*, as in other discrete-event simulations. A process is
a generator that yields the lines of this moment and the time (Unix seconds) at which to resume it.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator, Sequence

from app.traffic.simulated_lines import PRI_DYNO, SimulatedLine, frame

Process = Iterator[tuple[Sequence[SimulatedLine], float]]

METRICS_EVERY_S = 20.0  # as log-runtime-metrics does
CHECK_EVERY_S = 5.0  # how often a dyno checks whether it must restart
QUOTA = 51_200  # hundredths of a megabyte: a dyno of 512 MB
DAY_S = 86_400

RESTING_SHARE = 0.55  # of the quota
LEAK_PER_S = 0.0002  # of the quota: from RESTING_SHARE to over the quota in 38 minutes
LEAK_START_SHARE = 0.996  # a leaking dyno starts here, so even a short simulation shows R14
RESTART_SHARE = 1.12

_COMMANDS = {
    "web": "bundle exec puma -C config/puma.rb",
    "worker": "bundle exec sidekiq -q default",
}
_EXIT_TIMEOUT = "Process failed to exit within 30 seconds of SIGTERM"
_BOOT_TIMEOUT = "Web process failed to bind to $PORT within 60 seconds of launch"


def user_activity(at_s: float) -> float:
    """Relative activity of the app's users: 1 on average, highest in the afternoon (UTC)."""
    day = math.sin(2 * math.pi * (at_s - 9 * 3600) / DAY_S)
    ripple = math.sin(at_s / 67) + math.sin(at_s / 219)
    return 1 + 0.3 * day + 0.05 * ripple


class SimulatedDyno:
    """A dyno with a fixed name. Each start gives it a new id, as on Heroku."""

    def __init__(self, name: str, at_s: float, rng: random.Random, *, leaks: bool = False) -> None:
        self.name = name
        self.is_up = True
        self.speed = rng.uniform(0.85, 1.3)  # factor on service times, since machines differ
        self.restart_due_s = at_s + rng.uniform(0.5, 1) * DAY_S
        self._rng = rng
        self._leak_per_s = LEAK_PER_S if leaks else 0.0
        uptime_s = (
            (LEAK_START_SHARE - RESTING_SHARE) / LEAK_PER_S if leaks else rng.uniform(0, DAY_S)
        )
        self._started_s = at_s - uptime_s
        self._id = self._new_id()

    def runtime_metrics(self, at_s: float) -> Process:
        """Runtime metrics every 20 seconds while the dyno is up; R14 while it is over its quota."""
        at_s += self._rng.uniform(0, METRICS_EVERY_S)
        yield (), at_s
        while True:
            lines = self._metric_lines(at_s) if self.is_up else []
            at_s += METRICS_EVERY_S + self._rng.uniform(0, 0.9)
            yield lines, at_s

    def restarts(self, at_s: float) -> Process:
        """Restart when one is due (daily, after a release) or when memory is exhausted."""
        while True:
            at_s += CHECK_EVERY_S
            yield (), at_s
            if at_s < self.restart_due_s and self._quota_share(at_s) < RESTART_SHARE:
                continue
            reason = "Cycling" if at_s >= self.restart_due_s else "Restarting"
            self.restart_due_s = at_s + self._rng.uniform(0.9, 1.1) * DAY_S
            for delay_s, text, code in self._restart(at_s, reason):
                yield [self._line(at_s, text, code)], at_s + delay_s
                at_s += delay_s

    def _restart(self, at_s: float, reason: str) -> Iterator[tuple[float, str, str]]:
        """Yield (seconds until the next line, text, code) of a stop and a start that may fail."""
        rng = self._rng
        hangs = rng.random() < 0.1
        boots_slowly = self.name.startswith("web.") and rng.random() < 0.15
        yield 0.1, reason, ""
        self.is_up = False
        yield 0.8, "State changed from up to starting", ""
        yield 30 if hangs else 1.5, "Stopping all processes with SIGTERM", ""
        if hangs:
            yield 0.01, f"Error R12 (Exit timeout) -> {_EXIT_TIMEOUT}", "R12"
            yield 0.3, "Stopping remaining processes with SIGKILL", ""
        yield 5, f"Process exited with status {137 if hangs else 143}", ""
        self._id = self._new_id()
        start = f"Starting process with command `{_COMMANDS[self.name.partition('.')[0]]}`"
        if boots_slowly:
            yield 60, start, ""
            yield 0.02, f"Error R10 (Boot timeout) -> {_BOOT_TIMEOUT}", "R10"
            yield 0.2, "Stopping process with SIGKILL", ""
            yield 0.1, "Process exited with status 137", ""
            yield 10, "State changed from starting to crashed", ""
            yield 2, "State changed from crashed to starting", ""
        self._started_s = at_s + 8
        yield rng.uniform(4, 9), start, ""
        yield 0.001, "State changed from starting to up", ""
        self.is_up = True

    def _metric_lines(self, at_s: float) -> list[SimulatedLine]:
        rng = self._rng
        cache = rng.randint(100, 600)
        total = round(QUOTA * self._quota_share(at_s))
        swap = max(0, total - round(0.95 * QUOTA))
        rss = total - swap - cache
        pages = round((at_s - self._started_s) * 90)
        load = 0.35 * self.speed * user_activity(at_s)
        loads = [load * rng.uniform(1 - spread, 1 + spread) for spread in (0.4, 0.15, 0.05)]
        source = f"source={self.name} dyno=heroku.2808254.{self._id}"
        load_text = (
            f"{source} sample#load_avg_1m={loads[0]:.2f} sample#load_avg_5m={loads[1]:.2f}"
            f" sample#load_avg_15m={loads[2]:.2f}"
        )
        memory_text = (
            f"{source} sample#memory_total={_mb(total)} sample#memory_rss={_mb(rss)}"
            f" sample#memory_cache={_mb(cache)} sample#memory_swap={_mb(swap)}"
            f" sample#memory_pgpgin={pages + 3_000}pages sample#memory_pgpgout={pages}pages"
            f" sample#memory_quota={_mb(QUOTA)}"
        )
        texts = [(load_text, ""), (memory_text, "")]
        if total > QUOTA:
            texts += [
                (f"Process running mem={total // 100}M({100 * total / QUOTA:.1f}%)", ""),
                ("Error R14 (Memory quota exceeded)", "R14"),
            ]
        return [
            self._line(at_s, text, code, ago_s=0.006 - 0.002 * index)
            for index, (text, code) in enumerate(texts)
        ]

    def _quota_share(self, at_s: float) -> float:
        """The share of the memory quota in use."""
        warm_share = RESTING_SHARE * (1 - 0.4 * math.exp((self._started_s - at_s) / 60))
        leak = self._leak_per_s * (at_s - self._started_s)
        return warm_share + leak + 0.01 * math.sin(at_s / 40 + self.speed * 9)

    def _line(self, at_s: float, text: str, code: str = "", *, ago_s: float = 0.0) -> SimulatedLine:
        return SimulatedLine(
            at_s, frame(PRI_DYNO, at_s - ago_s, "heroku", self.name, text), code=code
        )

    def _new_id(self) -> uuid.UUID:
        return uuid.UUID(int=self._rng.getrandbits(128), version=4)


def _mb(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02}MB"
