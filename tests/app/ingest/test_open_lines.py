"""What is remembered of add-ons and marks stays small, whatever a sender names."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from tests.support.lines import frame

MEBIBYTE = 2**20
NOW_S = 1_795_338_000.0
BYTES_MAX = 36 * MEBIBYTE


def marks_of_many_sources() -> Iterator[bytes]:
    """73,000 marks of 450 sources, with the longest names."""
    for source in range(450):
        for names in (range(63), range(63, 163)):
            marks = (f"count#{'n' * 90}.{name}" for name in names)
            text = f"{' '.join(marks)} source={'s' * 90}{source}"
            yield frame(text, app_name="app", procid="web.1", at_s=NOW_S)


def many_samples_of_many_addons() -> Iterator[bytes]:
    samples = "".join(f" sample#{'n' * 90}{number}=1" for number in range(120))
    for addon in range(700):
        text = f"source=DATABASE addon=a-{addon}{samples}"
        yield frame(text, app_name="app", procid="heroku-postgres", at_s=NOW_S)


def long_lines_of_many_addons() -> Iterator[bytes]:
    for addon in range(500):
        text = f"source=DATABASE addon=a-{addon} {'j' * 100_000} sample#tables=1"
        yield frame(text, app_name="app", procid="heroku-postgres", at_s=NOW_S)


@pytest.mark.parametrize(
    "lines",
    [
        marks_of_many_sources,
        pytest.param(many_samples_of_many_addons, marks=pytest.mark.slow),
        long_lines_of_many_addons,
    ],
)
def test_names_that_a_sender_invents_are_not_remembered_for_good(
    lines: Callable[[], Iterator[bytes]],
) -> None:
    tracemalloc.start()
    try:
        for line in lines():
            aggregator = Aggregator(NOW_S, AcceptanceWindow(60, 60), reads_marks=True)
            aggregator.add_body(line)
            assert aggregator.build_body().ledger["counted"] == 1
        del aggregator
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < BYTES_MAX
