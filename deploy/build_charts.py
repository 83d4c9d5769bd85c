"""Build hook of the wheel: packs the chart library's two files into it if Node is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.parent
CHARTS = ROOT / "app" / "web" / "vendor" / "uPlot.iife.min.js"


class BuildPy(build_py):
    """Runs 'npm ci' unless its files exist or npm is missing; without them charts are pictures."""

    def run(self) -> None:
        npm = shutil.which("npm")
        if not CHARTS.exists() and npm is not None:
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=ROOT, check=False)
        super().run()
