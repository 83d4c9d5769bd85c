"""The installed version, and the command under which Dynometer was started."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

LAUNCHER_VARIABLE = "DYNOMETER_LAUNCHER"  # set by the script ./dynometer of a checkout


def version() -> str:
    """The installed version; in a checkout that is not installed, the one in pyproject.toml."""
    try:
        return installed_version("dynometer")
    except PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
        return str(project["project"]["version"])


def command() -> str:
    """The command to show in hints: ./dynometer in a checkout, dynometer where it is installed."""
    return os.environ.get(LAUNCHER_VARIABLE) or "dynometer"
