"""The service with a profiler inside: from SIGUSR2 on it notes, every millisecond of its CPU time,
in which function it is, and writes that to BENCH_PROFILE when it ends. For bench.profile.

What is compiled shows as its caller: a signal is handled between two steps of Python.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from app.cli import main

EVERY_S = 0.001
FILE = "BENCH_PROFILE"
_FOLDING = "app/fold.py"
_samples: Counter[tuple[str, str, bool]] = Counter()


def _sample(signum: int, frame: FrameType | None) -> None:
    if frame is None:
        return
    place, function = _place(frame.f_code.co_filename), frame.f_code.co_qualname
    outer: FrameType | None = frame
    folding = False
    while outer is not None and not folding:
        folding = outer.f_code.co_filename.endswith(_FOLDING)
        outer = outer.f_back
    _samples[place, function, folding] += 1


def _begin(signum: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)


def _place(path: str) -> str:
    """From the package on: app/fold.py, uvicorn/server.py."""
    parts = Path(path).parts
    for root in ("site-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        if root in parts:
            return "/".join(parts[parts.index(root) + 1 :])
    return "/".join(parts[-2:])


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR2, _begin)
    try:
        status = main(["serve"])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        rows = [[*key, count] for key, count in _samples.items()]
        Path(os.environ[FILE]).write_text(json.dumps(rows))
    sys.exit(status)
