"""Rejections are counted, and logged at most once a minute."""

from __future__ import annotations

import pytest

from app.support.rejections import LOG_INTERVAL_S, Rejections
from tests.support.service import Clock


def test_rejections_are_counted_and_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    rejections = Rejections(clock)
    for _ in range(10):
        rejections.add("bodies")
    rejections.add("connections")
    assert (rejections.counts["bodies"], rejections.counts["connections"]) == (10, 1)
    assert len(caplog.records) == 2
    clock.now_s += LOG_INTERVAL_S
    rejections.add("bodies")
    assert len(caplog.records) == 3
    assert "Rejected 10 request bodies" in caplog.text
