"""Estimates grow with the load, and docs/scaling.md shows the real output."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.main import main
from app.cli.size import lines
from app.rollup.resolutions import resolutions
from app.support.capacity import SLOT_BYTES, Load, Machine, estimate, memory_bytes, slot_bytes

PAGE = Path(__file__).parents[3] / "docs" / "scaling.md"
TIERS = resolutions(86_400, 15 * 86_400, 90 * 86_400)
MACHINE = Machine(0.5, 8 * 2**30, 1)


def load(apps: int = 20, requests_s: float = 1_000, dynos: int = 80, largest: float = 0.2) -> Load:
    return Load(
        apps,
        requests_s,
        dynos,
        largest,
        2.0,
        100,
        {tier.name: tier.retention_s for tier in TIERS},
        {tier.name: tier.seconds for tier in TIERS},
    )


@given(
    apps=st.integers(1, 5_000),
    requests_s=st.floats(0, 1e6),
    dynos=st.integers(1, 50_000),
    largest=st.floats(0.01, 1),
    factor=st.floats(1, 10),
)
def test_more_requests_never_need_less(
    apps: int, requests_s: float, dynos: int, largest: float, factor: float
) -> None:
    less = estimate(load(apps, requests_s, dynos, largest), MACHINE)
    more = estimate(load(apps, requests_s * factor, dynos, largest), MACHINE)
    for name in ("workers", "shards", "readers", "worker_cores", "redis_cores", "redis_bytes"):
        assert getattr(more, name) >= getattr(less, name) * (1 - 1e-9), name


def test_posts_are_never_larger_than_they_may_be() -> None:
    for requests_s in (0.01, 1, 1_000, 1_000_000):
        assert estimate(load(requests_s=requests_s), MACHINE).lines_a_post <= 100 + 1e-9


def test_an_app_that_is_too_large_for_one_primary_gets_a_warning() -> None:
    assert estimate(load(), MACHINE).largest_cores < MACHINE.busy
    large = load(apps=1, requests_s=1_500_000, largest=1)
    assert MACHINE.busy < estimate(large, MACHINE).largest_cores
    assert "more than one primary has" in "".join(lines(large, MACHINE, estimate(large, MACHINE)))


def test_memory_is_that_of_all_slots() -> None:
    app_bytes = sum(
        slot_bytes(tier.name, 8, 1_000) * tier.retention_s / tier.seconds for tier in TIERS
    )
    total = memory_bytes(load(apps=10, requests_s=10_000 / 60, dynos=80), posts_s=0)
    assert total == pytest.approx(10 * app_bytes)
    assert set(SLOT_BYTES) == {tier.name for tier in TIERS}


EXAMPLES = re.findall(r"\$ \./dynometer (size [^\n]*)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_has_three_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_the_page_shows_what_the_command_prints(
    command: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == output
