"""The build hook of the wheel: the chart library's two files go into it, wherever Node is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.parent
CHARTS = ROOT / "app" / "http" / "vendor" / "uPlot.iife.min.js"


class BuildPy(build_py):
    """Fetches what 'npm ci' fetches, unless it is there or cannot be; then charts are pictures."""

    def run(self) -> None:
        """As setuptools calls it."""
        npm = shutil.which("npm")
        if not CHARTS.exists() and npm is not None:
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=ROOT, check=False)
        super().run()
