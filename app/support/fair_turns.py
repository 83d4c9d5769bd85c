"""Runs jobs in short turns between which the event loop does everything else.

Each group of jobs gets its turn in rotation, so the many jobs of one peer do not delay the few of
another one. While there is time in a turn, a job runs immediately.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

TURN_S = 0.002

Job = Callable[[], None]


class FairTurns:
    """A queue of jobs. The jobs of a group run in order."""

    def __init__(self, turn_s: float = TURN_S) -> None:
        """`turn_s`: how long jobs may run before the event loop continues, in seconds."""
        self._turn_s = turn_s
        self._remaining_s = turn_s
        self._jobs = OrderedDict[Hashable, deque[Job]]()  # next group first
        self._is_scheduled = False

    def run(self, group: Hashable, job: Job) -> None:
        """Run a job now, if no other waits and the turn has time left; otherwise later."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._take_turn)
        if not self._jobs and self._remaining_s > 0:
            self._run_now(job)
        else:
            self._jobs.setdefault(group, deque()).append(job)

    def spend(self, seconds: float) -> None:
        """Shorten this turn by what a job causes after it, such as the work of its task."""
        self._remaining_s -= seconds

    def _run_now(self, job: Job) -> None:
        start_s = time.perf_counter()
        try:
            job()
        finally:
            self._remaining_s -= time.perf_counter() - start_s

    def _take_turn(self) -> None:
        self._remaining_s = self._turn_s
        try:
            while self._jobs and self._remaining_s > 0:
                group, jobs = self._jobs.popitem(last=False)
                job = jobs.popleft()
                if jobs:
                    self._jobs[group] = jobs  # at the end
                self._run_now(job)
        finally:
            self._is_scheduled = bool(self._jobs)
            if self._is_scheduled:
                asyncio.get_running_loop().call_soon(self._take_turn)
