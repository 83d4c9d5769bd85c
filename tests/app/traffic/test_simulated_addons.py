"""A simulated app has databases, a cache and custom metrics."""

from __future__ import annotations

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.rollup.accelerated import to_python
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.traffic.simulated_app import SimulatedApp
from tests.support.lines import AT_S


def simulate(seconds: float = 300) -> Rollup:
    aggregator = Aggregator(AT_S + seconds, AcceptanceWindow(3_600, 300), reads_marks=True)
    for line in SimulatedApp("demo", lines_per_s=10).lines(AT_S):
        if line.at_s > AT_S + seconds:
            break
        aggregator.add_body(line.frame)
    rollup = Rollup()
    for part in aggregator.build_body().rollups.values():
        assert not isinstance(part, bytes)
        rollup.merge(to_python(part))
    return rollup


def test_every_metric_of_add_ons_has_samples() -> None:
    names = {key[1] for key in simulate().addon_samples}
    expected = [
        metric.selection or frozenset()
        for metric in METRICS.values()
        if metric.sections == ("addon_samples",)
    ]
    assert names == frozenset().union(*expected)


def test_the_app_logs_its_own_metrics_and_none_is_dropped() -> None:
    rollup = simulate()
    assert {"orders"} == {key[1] for key in rollup.custom_counts}
    measures = {(key[1], key[2]) for key in rollup.custom_measures}
    assert {("db.query", "ms"), ("queue_time", "ms"), ("cart.value", "")} <= measures
    assert ("jobs.waiting", "jobs") in {(key[1], key[2]) for key in rollup.custom_samples}
    assert "dropped:custom" not in rollup.ledger


def test_databases_are_apart() -> None:
    addons = {(key[0], key[3]) for key in simulate().addon_samples}
    assert addons == {
        ("postgresql-round-1", "DATABASE"),
        ("postgresql-opaque-2", "HEROKU_POSTGRESQL_GREEN"),
        ("postgresql-round-1", "pgbouncer"),
        ("redis-flat-3", "REDIS"),
    }
