"""The inputs that fuzzing kept, without fuzzing: each target holds for each of its own."""

from __future__ import annotations

import pytest

from fuzz.targets import CORPUS, TARGETS, kept

CORPUS_BYTES_MAX = 300_000


@pytest.mark.parametrize("target", TARGETS)
def test_what_always_holds_does_for_every_input_that_was_kept(target: str) -> None:
    inputs = kept(target)
    assert inputs
    for path in inputs:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_what_is_empty_and_what_is_not_much(target: str) -> None:
    for data in (b"", b"\x00", b"\xff", b"1 ", b"\xff" * 100):
        TARGETS[target](data)


def test_little_is_kept_and_all_of_it_for_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS}
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < CORPUS_BYTES_MAX
