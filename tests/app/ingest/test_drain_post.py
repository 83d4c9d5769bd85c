"""A large body is aggregated in short steps and little memory, to the same bytes as in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.ingest import aggregator as ingest
from app.ingest import drain_post
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import ENTRIES_MAX, FRAMES_PER_STEP, MINUTE_S, AggregatedBody
from app.rollup.batch_codec import unpack_batch
from app.rollup.rollup import DEFAULT_LIMITS
from tests.support.arrivals import ACCEPTANCE, make_post
from tests.support.lines import router
from tests.support.service import NOW_S

LINES = 4_000
MINUTES = 60


def hostile_body(dyno: Callable[[int], str], minutes: int) -> bytes:
    """Every line names another dyno, and the next minute."""
    lines = (
        router(NOW_S - MINUTE_S * (number % minutes), dyno=dyno(number)) for number in range(LINES)
    )
    return b"damaged" + b"".join(lines)


BODIES = {
    "process types": lambda: hostile_body(lambda number: f"p{number}.1", 1),
    "process types over minutes": lambda: hostile_body(lambda number: f"p{number}.1", MINUTES),
    "dynos, last first": lambda: hostile_body(lambda number: f"web.{LINES - number}", 1),
    "dynos over minutes": lambda: hostile_body(lambda number: f"web.{number}", MINUTES),
    "one dyno": lambda: hostile_body(lambda number: "web.1", 2),
}


@pytest.fixture(params=["selected", "interpreted"])
def aggregator_type(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The aggregator of this installation, and the Python one."""
    chosen = Aggregator if request.param == "selected" else ingest.Aggregator
    monkeypatch.setattr(drain_post, "Aggregator", chosen)
    return chosen


async def aggregate(body: bytes) -> AggregatedBody:
    post = make_post(body, promised=LINES)
    return await post.aggregate(NOW_S, DEFAULT_LIMITS)


def count_turns(awaitable: Awaitable[object]) -> int:
    """Run to the end; returns how often it let other tasks run."""
    turns = 0
    iterator = awaitable.__await__()
    for _ in iterator:
        turns += 1
    return turns


@pytest.mark.parametrize("name", BODIES)
async def test_steps_change_nothing(name: str, aggregator_type: Any) -> None:
    body = BODIES[name]()
    at_once = aggregator_type(NOW_S, ACCEPTANCE, DEFAULT_LIMITS)
    at_once.add_body(body, 0, LINES)
    in_steps = await aggregate(body)
    assert in_steps.pack() == at_once.pack()
    assert in_steps.activity == at_once.activity
    assert in_steps.received == LINES + 1


@pytest.mark.parametrize("name", BODIES)
def test_other_tasks_run_between_steps_and_between_minutes(name: str, aggregator_type: Any) -> None:
    turns = count_turns(aggregate(BODIES[name]()))
    packed_minutes = MINUTES if "minutes" in name else 1
    assert turns >= LINES // FRAMES_PER_STEP - 1 + packed_minutes


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_in_progress_holds_few_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_counts = []

    class Watched(ingest.Aggregator):
        def take_body(self) -> AggregatedBody:
            entry_counts.append(self.entry_count)
            return super().take_body()

    monkeypatch.setattr(drain_post, "Aggregator", Watched)
    body = await aggregate(BODIES[name]())
    entries_per_line = 2  # the Python form counts statuses and errors
    assert max(entry_counts) <= ENTRIES_MAX + entries_per_line * FRAMES_PER_STEP
    assert all(isinstance(rollup, bytes) for rollup in body.rollups.values())
    for _, data in unpack_batch(body.pack_rollups()):
        assert len(data) < 100 * DEFAULT_LIMITS.dynos


def test_a_sleeping_task_is_a_turn() -> None:
    assert count_turns(asyncio.sleep(0)) == 1
