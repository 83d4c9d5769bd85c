"""Processes that end when the one that started them does, even if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None


def exit_with_parent(parent_pid: int) -> None:
    """Have this process sent SIGTERM when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    The kernel means the parent's *thread* that started us. On other systems than Linux this does
    nothing. It is a bare system call, so it is safe right after a fork.
    """
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Gives what raises KeyboardInterrupt if there was one meanwhile. Python raises it wherever it
    is just then, and drops it where that is the end of an object: so look now and then.
    """
    seen: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def look() -> None:
        if seen:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # the others get no signals
        yield look
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, before)


MOUNTS = Path("/proc/self/mountinfo")
_FIELD_MOUNT_POINT = 4
_LOSES_DATA = {"overlay": "in the container's own layer", "tmpfs": "in memory"}


def why_ephemeral(directory: Path, environ: Mapping[str, str], mounts: Path = MOUNTS) -> str:
    """Why data in `directory` is gone after a restart of the machine or container, in words that
    complete "It lies …"; "" when nothing says so.

    Known by DYNO in the environment, which Heroku sets, and by the kind of file system: see
    proc(5), /proc/pid/mountinfo.
    """
    if "DYNO" in environ:
        return "on a dyno's disk, which is new after each restart (Heroku restarts daily)"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:  # no Linux
        return ""
    return _LOSES_DATA.get(_file_system(directory.resolve(), lines), "")


def _file_system(path: Path, lines: list[str]) -> str:
    """The kind of the file system that holds `path`: that of the longest mount point over it."""
    found, kind = Path(), ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[_FIELD_MOUNT_POINT].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, after.split()[0]
    return kind
