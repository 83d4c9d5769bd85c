"""The service with short lives for what it stores, so that a soak of minutes sees it expire."""

from __future__ import annotations

import sys

import app.core
import app.fold
from app.cli import main

LIFE_S = 60  # instead of hours: how long slots outlive their retention, and ids the spool's

if __name__ == "__main__":
    app.fold.MARGIN_S = app.core.MARGIN_S = app.core.ID_MARGIN_S = LIFE_S
    sys.exit(main(["serve"]))
