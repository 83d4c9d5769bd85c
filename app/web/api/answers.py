"""Example answers for the OpenAPI document and the reference: recorded ones of a real service.

tests/app/web/api/test_answers.py makes each call again and compares. Long lists are shortened.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_suffix(".json")


@cache
def example_answers() -> dict[str, Any]:
    """The answers by route, such as "GET /api/v1/apps": JSON values, or texts; "" for no body."""
    answers: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return answers
