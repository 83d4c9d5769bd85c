"""`dynometer config`: prints the settings in effect and where each comes from, without secrets."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping

from app.config import ENV_FILE, SETTINGS, Setting, Settings, read_env_file

HIDDEN = "…"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the table, or JSON."""
    from_file = read_env_file()
    rows = [(item.name, *printable_value(item, os.environ, from_file)) for item in SETTINGS]
    if arguments.json:
        values = {name: {"value": value, "source": source} for name, value, source in rows}
        print(json.dumps(values, indent=2))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        origin = "" if source == "default" else f"  ({source})"
        print(f"{name:<{width}}  {value or '(empty)'}{origin}")
    return 0


def printable_value(
    setting: Setting, environ: Mapping[str, str], from_file: Mapping[str, str]
) -> tuple[str, str]:
    """(value as in the environment, with secrets hidden; "environment", ".env" or "default")."""
    text = environ.get(setting.name)
    if not text:
        return setting.default, "default"
    source = str(ENV_FILE) if from_file.get(setting.name) == text else "environment"
    return (HIDDEN if setting.secret else text), source
