"""Hooks of the build: accelerators are compiled side by side, and the charts go into the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.parent
CHARTS = ROOT / "app" / "web" / "vendor" / "uPlot.iife.min.js"


class BuildExt(build_ext):
    """Compiles what has changed, on every core.

    Cython holds the interpreter's lock, so each module is translated to C by a process of its own;
    the C compiler then runs in threads.
    """

    def build_extensions(self) -> None:
        """Translate, then compile as setuptools does.

        An editable install compiles nothing, as it would start anew each time, in a temporary
        folder. `python -m deploy.compile` does it in place.
        """
        if self.editable_mode:
            return
        cores = os.cpu_count() or 1
        sources = [extension.sources[0] for extension in self.extensions]
        stale = [
            source
            for source, extension in zip(sources, self.extensions, strict=True)
            if self.force or is_stale(source, extension.depends)
        ]
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(translate, stale))
        self.parallel = cores
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        """Compile one module, and say so: all of them take half a minute."""
        path = Path(self.get_ext_fullpath(ext.name))
        before = path.stat().st_mtime if path.exists() else 0
        super().build_extension(ext)
        if path.exists() and path.stat().st_mtime > before:
            print(f"  {ext.name}", flush=True)


def is_stale(source: str, depends: list[str]) -> bool:
    """Whether the C file of a module is older than what it is made of."""
    translated = Path(source).with_suffix(".c")
    if not translated.exists():
        return True
    made = translated.stat().st_mtime
    return any(Path(name).stat().st_mtime > made for name in (source, *depends))


def translate(source: str) -> None:
    """Translate one module to C. What fails here is reported when setuptools tries it again."""
    subprocess.run([sys.executable, "-m", "cython", "-3", source], check=False)


class BuildPy(build_py):
    """Fetches the chart library with npm; without Node, charts are pictures."""

    def run(self) -> None:
        """As setuptools calls it."""
        npm = shutil.which("npm")
        if not CHARTS.exists() and npm is not None:
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=ROOT, check=False)
        super().run()
