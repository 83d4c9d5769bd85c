"""When `python -m bench.kafka --check` fails."""

from __future__ import annotations

import pytest

from bench.kafka import CHECKED, slower_figures

SAVED = {"ratio": 0.3, "broker_ratio": 2.0, "record_bytes": 266.0}


def test_the_saved_figures_and_small_changes_pass() -> None:
    assert slower_figures(SAVED, SAVED) == []
    assert slower_figures(SAVED, {name: value * 1.1 for name, value in SAVED.items()}) == []


@pytest.mark.parametrize("figure", CHECKED)
def test_a_client_or_broker_that_delivers_a_third_less_is_noticed(figure: str) -> None:
    """As that of Kafka 0.10 did, by its benchmark before the release."""
    [slower] = slower_figures(SAVED, {**SAVED, figure: SAVED[figure] / (1 - 0.33)})
    assert slower.startswith(figure)
