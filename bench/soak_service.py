"""The service with short retention, so that stored data expires within a soak of minutes."""

from __future__ import annotations

import sys

import app.folding.fold_worker
import app.folding.merge
import app.service.wiring
from app.cli.main import main

LIFE_S = 60  # how long slots outlive their retention; otherwise hours

if __name__ == "__main__":
    app.folding.merge.MARGIN_S = app.folding.fold_worker.MARGIN_S = app.service.wiring.MARGIN_S = (
        LIFE_S
    )
    app.service.wiring.ID_MARGIN_S = 0  # ids expire every minute, so equally often in both halves
    sys.exit(main(["serve"]))
