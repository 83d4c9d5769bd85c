"""Each drill at small size: every promise holds. `make guarantees` runs them at full size."""

from __future__ import annotations

import pytest

from tests.guarantees.drills import BY_NAME
from tests.support.drill import Size, run

SMALL = Size(messages=2_000, kills=2, outage_s=0.5, messages_per_s=2_000)
SEED = 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BY_NAME)
async def test_every_promise_holds(name: str) -> None:
    result = await run(BY_NAME[name], SMALL, SEED)
    assert result.passed, (result.differences, result.problems)
    assert result.offered >= SMALL.messages
    assert result.acknowledged
