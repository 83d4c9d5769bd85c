"""What processes have cost: CPU time as the operating system books it, to the nanosecond, children
that have ended (a Redis that rewrites its file) included. The clock on the wall plays no part.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SCHEDULED = 2  # CPUCLOCK_SCHED: all threads of the process (clock_getcpuclockid(3))
_ROLES = ((b"redis-server", "store"), (b"valkey-server", "store"), (b"spawn_main", "worker"))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_s(pids: Iterable[int]) -> float:
    """What these processes have used."""
    return sum(_own_s(pid) + _ended_children_s(pid) for pid in pids)


def roles(pid: int) -> dict[int, str]:
    """The processes of a service: worker, store, and supervisor where there are several workers."""
    found = {each: _role(each) for each in family(pid)}
    if "worker" not in found.values():
        found[pid] = "worker"
    return found


def cpu_by_role(processes: dict[int, str]) -> Counter[str]:
    """Seconds that they have used."""
    used: Counter[str] = Counter()
    for pid, role in processes.items():
        used[role] += cpu_s([pid])  # type: ignore[assignment]  # seconds
    return used


def _role(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return next((role for part, role in _ROLES if part in line), "supervisor")


def _own_s(pid: int) -> float:
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


def _ended_children_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS
