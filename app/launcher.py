"""How this command is called, for the commands we print: each must work when it is pasted."""

from __future__ import annotations

import os

VARIABLE = "DYNOMETER_LAUNCHER"  # set by the script ./dynometer of a checkout


def command() -> str:
    """./dynometer in a checkout, dynometer where it is installed."""
    return os.environ.get(VARIABLE) or "dynometer"
