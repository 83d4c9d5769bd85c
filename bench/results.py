"""Results as they are kept: JSON, with the whole configuration beside the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.environment import environment

RESULTS = Path(__file__).parent / "results"


def keep(
    name: str, rows: Sequence[Mapping[str, object]], configuration: Mapping[str, object]
) -> None:
    """Write one measurement's rows."""
    RESULTS.mkdir(exist_ok=True)
    kept = {"configuration": {**environment(), **configuration}, "rows": list(rows)}
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def kept(name: str) -> dict[str, Any]:
    """What was kept under this name; empty when nothing was."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}
