"""Every target passes for each input in its corpus."""

from __future__ import annotations

import pytest

from fuzz.targets import CORPUS, TARGETS, corpus_inputs

CORPUS_BYTES_MAX = 300_000


@pytest.mark.parametrize("target", TARGETS)
def test_the_invariants_of_a_target_hold_for_its_corpus(target: str) -> None:
    inputs = corpus_inputs(target)
    assert inputs
    for path in inputs:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_accepts_empty_and_tiny_inputs(target: str) -> None:
    for data in (b"", b"\x00", b"\xff", b"1 ", b"\xff" * 100):
        TARGETS[target](data)


def test_the_corpus_is_small_and_belongs_to_the_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS}
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < CORPUS_BYTES_MAX
