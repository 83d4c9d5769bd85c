"""Values and dynos in words: short, and never in scientific notation."""

from __future__ import annotations

import pytest

from app.alerting.wording import dyno_in_words, value_in_words
from app.rollup.schema import METRICS


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (247.6, "ms", "248 ms"),
        (4_470, "ms", "4.47 s"),
        (26_600, "ms", "26.6 s"),
        (1_234_000, "ms", "1,234 s"),
        (0.0413, "ratio", "4.13 %"),
        (12.5, "ratio", "1,250 %"),
        (512 * 2**20, "bytes", "512 MB"),
        (62, "minutes", "1 h 02 min"),
        (16, "tasks", "16"),
        (0.00001, "tasks", "0.000010"),
        (12_345_678, "requests", "12,345,678"),
    ],
)
def test_a_value_has_its_unit_and_no_exponent(value: float, unit: str, text: str) -> None:
    assert value_in_words(value, unit) == text


@pytest.mark.parametrize(
    ("metric", "values", "text"),
    [
        ("service_time_ms", {}, ""),
        ("service_time_ms", {"web.1": 300}, "web.1"),
        ("service_time_ms", {"web.1": 300, "web.2": 310}, "2 dynos alike"),
        (
            "service_time_ms",
            {"web.1": 100, "web.2": 50, "web.3": 26_600},
            "web.3 averages 26.6 s; all 3 dynos 8.92 s",
        ),
        ("heroku_errors", {"web.1": 2, "web.2": 12}, "web.2: 12 of 14"),
        ("load_avg_1m", {"web.1": 3, "web.2": 3.1}, "web.2, the highest of 2"),
        (
            "memory_quota_used_ratio",
            {"web.1": 0.2, "web.2": 0.96},
            "web.2: 96 %; average of all 2 dynos: 58 %",
        ),
    ],
)
def test_the_dyno_that_differs_is_named(metric: str, values: dict[str, float], text: str) -> None:
    assert dyno_in_words(values, METRICS[metric]) == text
