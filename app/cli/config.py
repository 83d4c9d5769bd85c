"""`dynometer config`: prints the settings in effect and where each comes from, without secrets."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping

from app.config import SETTINGS, Setting, Settings

HIDDEN = "…"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the table, or JSON."""
    rows = [(setting.name, *printable_value(setting, os.environ)) for setting in SETTINGS]
    if arguments.json:
        values = {name: {"value": value, "source": source} for name, value, source in rows}
        print(json.dumps(values, indent=2))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        origin = "" if source == "default" else f"  ({source})"
        print(f"{name:<{width}}  {value or '(empty)'}{origin}")
    return 0


def printable_value(setting: Setting, environ: Mapping[str, str]) -> tuple[str, str]:
    """(value as in the environment, with secrets hidden; "environment" or "default")."""
    text = environ.get(setting.name)
    if not text:
        return setting.default, "default"
    return (HIDDEN if setting.secret else text), "environment"
