"""Each corpus counts as it says, in both implementations, and the compiled one reads it itself."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

import pytest

from app.rollup.statuses import status_label
from bench.corpora import CORPORA, WITH_MARKS, corpus_bodies
from bench.corpus import START_S
from bench.traffic import posts
from tests.support.forms import ACCEPTANCE, assert_same_aggregation, compiled_aggregator


@pytest.mark.parametrize("corpus", CORPORA)
def test_corpus_counts_as_it_says(corpus: str) -> None:
    for post in posts(100, 8, corpus=corpus)[:10]:
        reads_marks = corpus in WITH_MARKS
        body = assert_same_aggregation(post.body, time.time(), reads_marks=reads_marks)
        statuses: Counter[str] = Counter()
        codes: Counter[str] = Counter()
        for rollup in body.rollups.values():
            assert not isinstance(rollup, bytes)
            for (_, status), count in rollup.requests.items():
                statuses[status_label(status)] += count
            for (_, code), count in rollup.errors.items():
                codes[code] += count
        assert (statuses, codes) == (post.statuses, post.codes)
        ledger = body.ledger
        assert ledger["counted"] + ledger.get("ignored", 0) == body.received == post.lines


@pytest.mark.parametrize("corpus", CORPORA)
def test_compiled_aggregator_leaves_only_rare_lines_to_python(corpus: str) -> None:
    bodies = corpus_bodies(corpus, 10)

    def aggregate() -> None:
        for body in bodies:
            aggregator = compiled_aggregator.Aggregator(
                START_S, ACCEPTANCE, reads_marks=corpus in WITH_MARKS
            )
            aggregator.add_body(body)

    aggregate()  # from now on it knows the short lines of dynos
    # Events are rare.
    assert called_parsers(aggregate) <= {"parsers.api_events"}


def called_parsers(work: Callable[[], None]) -> set[str]:
    """The modules of the package `parsers` with a function that the work calls."""
    modules: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            modules.add(frame.f_globals.get("__name__", ""))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {name for name in modules if name.startswith("parsers.")}
