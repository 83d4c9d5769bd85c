"""A selection filters metrics and dynos."""

from __future__ import annotations

from app.query.selection import WHOLE_APP, Selection
from app.rollup.schema import METRICS


def test_a_metric_is_filtered_by_the_labels_that_it_has() -> None:
    part = Selection("web", "web.1", "failed")
    assert part.filters(METRICS["requests"]) == {
        "process_type": ["web"],
        "dyno": ["web.1"],
        "outcome": ["failed"],
    }
    assert part.filters(METRICS["response_bytes"]) == {"process_type": ["web"]}
    assert part.filters(METRICS["heroku_errors"]) == {"process_type": ["web"], "dyno": ["web.1"]}
    assert WHOLE_APP.filters(METRICS["requests"]) == {}


def test_patterns_say_which_dynos_belong_to_it() -> None:
    assert WHOLE_APP.includes("web.1")
    assert Selection("w*").includes("web.1")
    assert Selection("web", "web.?").includes("web.1")
    assert not Selection("web", "web.?").includes("web.10")
    assert not Selection("worker").includes("web.1")
    assert not Selection(dyno="web.1").includes("web.")
