"""While strangers or one sender attack, an honest sender is answered, and memory stays bounded.

How long the answers take depends on the machine: `python -m bench.attacks` measures it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.attacked_service import MIXES, AttackedService, attacked_service
from tests.support.attacks import ATTACKS

ATTACK_S = 4.0
RSS_MAX_BYTES = 400 * 2**20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedService]:
    with attacked_service(tmp_path_factory.mktemp("attacked")) as service:
        yield service


@pytest.mark.timeout(180)
@pytest.mark.parametrize("names", [*ATTACKS, *MIXES])
async def test_an_honest_sender_is_answered_during_an_attack(
    service: AttackedService, names: str
) -> None:
    outcome = await service.attack(names, ATTACK_S)
    assert set(outcome.statuses) == {200}
    assert outcome.peak_bytes < RSS_MAX_BYTES
