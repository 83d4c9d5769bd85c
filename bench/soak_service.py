"""The service with short lives for what it stores, so that a soak of minutes sees it expire."""

from __future__ import annotations

import sys

import app.core
import app.fold
import app.levels
from app.cli import main

LIFE_S = 60  # instead of hours: how long slots outlive their retention

if __name__ == "__main__":
    app.levels.MARGIN_S = app.fold.MARGIN_S = app.core.MARGIN_S = LIFE_S
    app.core.ID_MARGIN_S = 0  # ids are dropped once a minute: as often in each half of what is warm
    sys.exit(main(["serve"]))
