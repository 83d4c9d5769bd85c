"""Signals of a process: when it ends, and that it notices each Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None


def exit_with_parent(parent_pid: int) -> None:
    """Have the kernel send this process SIGTERM when its parent ends, even if that is killed.

    prctl(2), PR_SET_PDEATHSIG. "Parent" is the *thread* that started this process. On systems
    other than Linux this does nothing. It is a bare system call, so it is safe right after a fork.
    """
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent ended before the call
        os._exit(1)


def exit_on_signals() -> None:
    """Exit with code 0 on SIGTERM, and on SIGHUP, which a terminal sends when it closes.

    Under nohup, which ignores SIGHUP, the process goes on.
    """
    signal.signal(signal.SIGTERM, _exit)
    if not ignores_hangup():
        signal.signal(signal.SIGHUP, _exit)


def ignores_hangup() -> bool:
    """Whether this process was started to outlive its terminal."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


@contextmanager
def reliable_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises KeyboardInterrupt if there was a Ctrl-C; call it regularly.

    Python raises KeyboardInterrupt wherever it happens to be, and drops it inside a `__del__`.
    """
    signals: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if signals:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield check
        return
    previous = signal.signal(signal.SIGINT, record)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, previous)
