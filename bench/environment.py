"""What a result was measured with: versions, machine and code, to be kept beside the figures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.corpus import SHARES
from bench.traffic import CORPUS_LINES, STAMPED_PER_S

_PACKAGES = ("uvicorn", "uvloop", "httptools", "redis", "hiredis", "msgspec")


def environment() -> dict[str, object]:
    """As JSON may hold it."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "redis-server": _printed("redis-server", "--version", r"v=(\S+)"),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "commit": _printed("git", "describe", r"(.+)", "--always", "--dirty"),
        "settings": {
            name: value for name, value in os.environ.items() if name.startswith("DYNOMETER_")
        },
        "corpus": {
            "lines": CORPUS_LINES,
            "shares": SHARES,
            "stamped a second": STAMPED_PER_S,
        },
    }


def _printed(program: str, argument: str, pattern: str, *more: str) -> str:
    if shutil.which(program) is None:
        return ""
    done = subprocess.run(
        [program, argument, *more], capture_output=True, text=True, check=False, cwd=_ROOT
    )
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else ""


def printed_version(program: str, argument: str = "--version") -> str:
    """What a program says that it is."""
    return _printed(program, argument, r"(\d[\w.~-]+)")


def _cpu_model() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


_ROOT = Path(__file__).parents[1]
