"""Each corpus counts as it says, in both implementations."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from app.rollup.statuses import status_label
from bench.corpora import CORPORA
from bench.traffic import posts
from tests.support.forms import assert_same_aggregation


@pytest.mark.parametrize("corpus", CORPORA)
def test_corpus_counts_as_it_says(corpus: str) -> None:
    for post in posts(100, 8, corpus=corpus)[:10]:
        body = assert_same_aggregation(post.body, time.time())
        statuses: Counter[str] = Counter()
        codes: Counter[str] = Counter()
        for rollup in body.rollups.values():
            assert not isinstance(rollup, bytes)
            for (_, status), count in rollup.requests.items():
                statuses[status_label(status)] += count
            for (_, code), count in rollup.errors.items():
                codes[code] += count
        assert (statuses, codes) == (post.statuses, post.codes)
        assert body.ledger["counted"] + body.ledger["ignored"] == body.received == post.lines
