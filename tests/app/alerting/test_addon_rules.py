"""The built-in rules about databases and caches fire on what their lines say."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from app.alerting.addon_rules import ADDON_RULES
from tests.support.incident import quiet, world
from tests.support.lines import frame


def samples(text: str, service: str = "postgres") -> Callable[[float], Iterable[bytes]]:
    """A minute with a line of an add-on."""
    source = "DATABASE" if service == "postgres" else "REDIS"
    words = f"source={source} addon=addon-round-1 {text}"
    return lambda at_s: [frame(words, app_name="app", procid=f"heroku-{service}", at_s=at_s + 20)]


@pytest.mark.parametrize(
    ("rule", "service", "sample", "good", "bad", "minutes"),
    [
        ("postgres-connections", "postgres", "connections-percentage-used", 0.6, 0.93, 1),
        ("postgres-storage", "postgres", "db-size-percentage-used", 0.8, 0.91, 1),
        ("postgres-iops", "postgres", "iops-percentage-used", 0.2, 0.99, 6),
        ("postgres-waiting", "postgres", "waiting-connections", 0, 8, 6),
        ("postgres-cache", "postgres", "table-cache-hit-rate", 0.99, 0.7, 66),
        ("redis-connections", "redis", "connection-percentage-used", 0.6, 0.93, 1),
    ],
)
async def test_a_rule_fires_once_and_resolves(
    rule: str, service: str, sample: str, good: float, bad: float, minutes: int
) -> None:
    alert = f"{rule} {'DATABASE' if service == 'postgres' else 'REDIS'}"
    async with world() as sim:
        await sim.live(10, quiet, samples(f"sample#{sample}={good}", service))
        await sim.live(minutes + 2, quiet, samples(f"sample#{sample}={bad}", service))
        assert sim.stories == [(alert, "firing")]
        await sim.live(40, quiet, samples(f"sample#{sample}={good}", service))
        assert sim.stories == [(alert, "firing"), (alert, "resolved")]


async def test_a_message_names_the_database_and_its_limit() -> None:
    async with world() as sim:
        await sim.live(5, quiet)
        await sim.live(3, quiet, samples("sample#connections-percentage-used=0.93"))
        (told,) = sim.told
        assert told.message["alerts"][0]["what"].startswith(
            "DATABASE: Postgres connections 93 % over 5 min (limit 90 %)"
        )


async def test_a_short_spike_of_locks_is_no_message() -> None:
    async with world() as sim:
        await sim.live(10, quiet, samples("sample#waiting-connections=0"))
        await sim.live(2, quiet, samples("sample#waiting-connections=40"))
        await sim.live(20, quiet, samples("sample#waiting-connections=0"))
        assert sim.told == []


async def test_a_plan_that_logs_every_third_minute_does_not_flap() -> None:
    full = samples("sample#db-size-percentage-used=0.95")
    async with world() as sim:
        await sim.live(5, quiet)
        for _ in range(15):
            await sim.live(1, quiet, full)
            await sim.live(2, quiet)
        assert sim.stories == [("postgres-storage DATABASE", "firing")]


def test_each_rule_is_about_an_attachment() -> None:
    assert {rule.by for rule in ADDON_RULES} == {"attachment"}
