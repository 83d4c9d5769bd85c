"""The environment of a measurement: versions, machine and code, saved with the figures."""

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
    """The environment as JSON values."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "redis-server": _output_of("redis-server", "--version", r"v=(\S+)"),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "commit": _output_of("git", "describe", r"(.+)", "--always", "--dirty"),
        "settings": {
            name: value for name, value in os.environ.items() if name.startswith("DYNOMETER_")
        },
        "corpus": {
            "lines": CORPUS_LINES,
            "shares": SHARES,
            "stamped a second": STAMPED_PER_S,
        },
    }


def _output_of(program: str, argument: str, pattern: str, *more: str) -> str:
    if shutil.which(program) is None:
        return ""
    result = subprocess.run(
        [program, argument, *more], capture_output=True, text=True, check=False, cwd=_ROOT
    )
    match = re.search(pattern, result.stdout + result.stderr)
    return match[1] if match else ""


def printed_version(program: str, argument: str = "--version") -> str:
    """The version that a program prints."""
    return _output_of(program, argument, r"(\d[\w.~-]+)")


def _cpu_model() -> str:
    match = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


_ROOT = Path(__file__).parents[1]
