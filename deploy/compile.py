"""Compiles the accelerators in place: `python -m deploy.compile`, which `make install` runs.

Without a C compiler or Python's headers the Python implementation runs, about 30 times slower;
the next `make install` tries again.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import time
import tomllib
import warnings
from pathlib import Path

from setuptools import setup

from deploy.build_hooks import ROOT

MISSING = (
    "Using the Python implementation: the accelerators need a C compiler and Python's headers. "
    "Install them (Debian: gcc libc6-dev python3-dev), then run 'make install' again."
)


def main() -> int:
    """Compile what has changed; returns 1 if a module is missing afterwards."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which(compiler) is None or not headers.exists():
        print(MISSING, file=sys.stderr)
        return 1
    began_s = time.monotonic()
    warnings.filterwarnings("ignore", message=".*`?ext-modules.*experimental")
    setup(script_args=["--quiet", "build_ext", "--inplace"])
    failures = [name for name in modules() if is_stale(name)]
    if failures:
        print(f"Not compiled: {', '.join(failures)}. See the errors above.", file=sys.stderr)
        return 1
    print(f"Accelerators compiled ({time.monotonic() - began_s:.0f} s).")
    return 0


def modules() -> list[str]:
    """The compiled modules, as pyproject.toml lists them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [module["name"] for module in project["tool"]["setuptools"]["ext-modules"]]


def is_stale(name: str) -> bool:
    """Whether the shared library of a module is missing, or older than its source."""
    path = ROOT / name.replace(".", "/")
    library = path.with_name(path.name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    source = path.with_suffix(".pyx")
    return not library.exists() or library.stat().st_mtime < source.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
