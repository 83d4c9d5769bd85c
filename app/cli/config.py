"""`dynometer config`: what is set, and where that comes from; no secret is shown."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping

from app.config import SETTINGS, Setting, Settings

HIDDEN = "…"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command."""
    rows = [(setting.name, *effective(setting, os.environ)) for setting in SETTINGS]
    if arguments.json:
        described = {name: {"value": value, "source": source} for name, value, source in rows}
        print(json.dumps(described, indent=2))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        print(
            f"{name:<{width}}  {value or '(empty)'}{'' if source == 'default' else f'  ({source})'}"
        )
    return 0


def effective(setting: Setting, environ: Mapping[str, str]) -> tuple[str, str]:
    """(value as it is written, where it comes from)."""
    given = environ.get(setting.name)
    if not given:
        return setting.default, "default"
    return (HIDDEN if setting.secret else given), "environment"
