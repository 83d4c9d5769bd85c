"""Which Dynometer this is."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path


def version() -> str:
    """The installed version; in a checkout that is not installed, what its pyproject.toml says."""
    try:
        return installed("dynometer")
    except PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
        return str(project["project"]["version"])


VARIABLE = "DYNOMETER_LAUNCHER"  # set by the script ./dynometer of a checkout


def command() -> str:
    """./dynometer in a checkout, dynometer where it is installed."""
    return os.environ.get(VARIABLE) or "dynometer"
