"""The installed version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """As in pyproject.toml; "0+unknown" when run from a tree that is not installed."""
    try:
        return installed("dynometer")
    except PackageNotFoundError:
        return "0+unknown"
