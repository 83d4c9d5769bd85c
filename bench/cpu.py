"""CPU time of processes, as the operating system accounts for it, in nanoseconds.

It includes children that have ended (a Redis that rewrites its file). The wall clock plays no part.
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


def process_tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in process_tree(int(child)))]


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that these processes have used."""
    return sum(_own_s(pid) + _ended_children_s(pid) for pid in pids)


def roles(pid: int) -> dict[int, str]:
    """The roles of a service's processes: worker, store, and with several workers supervisor."""
    role_by_pid = {pid_of_tree: _role(pid_of_tree) for pid_of_tree in process_tree(pid)}
    if "worker" not in role_by_pid.values():
        role_by_pid[pid] = "worker"
    return role_by_pid


def cpu_by_role(processes: dict[int, str]) -> Counter[str]:
    """CPU seconds that the processes have used, by role."""
    seconds: Counter[str] = Counter()
    for pid, role in processes.items():
        seconds[role] += cpu_s([pid])  # type: ignore[assignment]  # seconds
    return seconds


def _role(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return next((role for part, role in _ROLES if part in line), "supervisor")


def _own_s(pid: int) -> float:
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


def _ended_children_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS
