"""Saved results: JSON with the figures and the whole configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.environment import environment

RESULTS = Path(__file__).parent / "results"


def save(
    name: str, rows: Sequence[Mapping[str, object]], configuration: Mapping[str, object]
) -> None:
    """Save the rows of one measurement."""
    RESULTS.mkdir(exist_ok=True)
    result = {"configuration": {**environment(), **configuration}, "rows": list(rows)}
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def load(name: str) -> dict[str, Any]:
    """The result saved under this name; empty if there is none."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}
