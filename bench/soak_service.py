"""The service with short lives for what it stores, so that a soak of minutes sees it expire."""

from __future__ import annotations

import sys

import app.folding.fold_worker
import app.folding.merge
import app.service.wiring
from app.cli.main import main

LIFE_S = 60  # instead of hours: how long slots outlive their retention

if __name__ == "__main__":
    app.folding.merge.MARGIN_S = app.folding.fold_worker.MARGIN_S = app.service.wiring.MARGIN_S = (
        LIFE_S
    )
    app.service.wiring.ID_MARGIN_S = (
        0  # ids are dropped once a minute: as often in each half of what is warm
    )
    sys.exit(main(["serve"]))
