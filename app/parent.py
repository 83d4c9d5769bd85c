"""Processes that end when the one that started them does, even if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None


def end_with(parent_pid: int) -> None:
    """Have this process sent SIGTERM when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    The kernel means the parent's *thread* that started us. On other systems than Linux this does
    nothing. It is a bare system call, so it is safe right after a fork.
    """
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)
