"""Many jobs of one group delay neither the event loop nor the jobs of another group."""

from __future__ import annotations

import asyncio
from functools import partial

from app.support.fair_turns import FairTurns


async def test_a_job_runs_immediately_while_there_is_time() -> None:
    jobs: list[int] = []
    FairTurns(1.0).run("a", lambda: jobs.append(1))
    assert jobs == [1]


async def test_many_jobs_run_in_turns_and_groups_in_rotation() -> None:
    turns = FairTurns(0.005)
    jobs: list[str] = []
    loop_runs = 0

    def work(name: str) -> None:
        turns.spend(0.001)
        jobs.append(name)

    for number in range(1_000):
        turns.run("many", partial(work, f"many {number}"))
    turns.run("few", partial(work, "few"))
    while len(jobs) < 1_001:
        await asyncio.sleep(0)
        loop_runs += 1
    assert loop_runs >= 100
    assert jobs.index("few") < 20
    assert [job for job in jobs if job != "few"] == [f"many {number}" for number in range(1_000)]


async def test_a_job_that_fails_does_not_stop_the_others() -> None:
    turns = FairTurns(0.001)
    jobs: list[str] = []
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def fail() -> None:
        raise ValueError

    turns.run("a", lambda: turns.spend(1))
    turns.run("a", lambda: jobs.append("first"))
    turns.run("a", fail)
    turns.run("a", lambda: jobs.append("last"))
    while len(jobs) < 2:
        await asyncio.sleep(0)
    assert len(errors) == 1
