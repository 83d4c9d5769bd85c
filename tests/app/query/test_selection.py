"""A part of an app: what belongs to it, and which filters that is."""

from __future__ import annotations

from app.query.selection import EVERYTHING, Selection
from parsers.metrics import METRICS


def test_a_metric_is_filtered_by_the_labels_that_it_has() -> None:
    part = Selection("web", "web.1", "failed")
    assert part.filters(METRICS["requests"]) == {
        "process_type": ["web"],
        "dyno": ["web.1"],
        "outcome": ["failed"],
    }
    assert part.filters(METRICS["response_bytes"]) == {"process_type": ["web"]}
    assert part.filters(METRICS["heroku_errors"]) == {"process_type": ["web"], "dyno": ["web.1"]}
    assert EVERYTHING.filters(METRICS["requests"]) == {}


def test_patterns_say_which_dynos_belong_to_it() -> None:
    assert EVERYTHING.has("web.1")
    assert Selection("w*").has("web.1")
    assert Selection("web", "web.?").has("web.1")
    assert not Selection("web", "web.?").has("web.10")
    assert not Selection("worker").has("web.1")
    assert not Selection(dyno="web.1").has("web.")
