"""POSTs to send, with the counts that a service must derive from them.

The counts come from the simulation, not from our parsers.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from math import gcd
from typing import NamedTuple

from app.rollup.statuses import status_label
from app.traffic.simulated_lines import SimulatedLine
from bench.corpora import in_form
from bench.corpus import SHARES, in_shares, lines_by_class, restamp

CORPUS_LINES = 20_000  # distinct lines; longer runs repeat them under other frame ids
STAMPED_PER_S = 1_000.0  # timestamps of lines a second; the last one is now


class Post(NamedTuple):
    """A body, and the status of each request and the H, R and L codes in it."""

    body: bytes
    lines: int
    statuses: Counter[str]
    codes: Counter[str]


@dataclass
class Totals:
    """Totals of the POSTs sent so far."""

    posts: int = 0
    lines: int = 0
    bytes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, post: Post, times: int) -> None:
        """Add a POST that was sent this many times."""
        self.posts += times
        self.lines += times * post.lines
        self.bytes += times * len(post.body)
        for counter, post_counter in ((self.statuses, post.statuses), (self.codes, post.codes)):
            for name, count in post_counter.items():
                counter[name] += times * count


def posts(lines: int, dynos: int, apps: int = 1, corpus: str = "usual") -> list[Post]:
    """A corpus in bodies of `lines` lines, with current times. Their number is coprime to the
    number of apps, so each app sends every body when apps take turns.
    """
    count = max(1, CORPUS_LINES // lines)
    while gcd(count, apps) > 1:
        count -= 1
    start_s = time.time() - count * lines / STAMPED_PER_S
    stamped_lines = [
        line._replace(frame=restamp(line.frame, start_s + index / STAMPED_PER_S))
        for index, line in enumerate(_lines(dynos)[: count * lines])
    ]
    corpus_lines = in_form(stamped_lines, corpus)
    return [_post(corpus_lines[first : first + lines]) for first in range(0, count * lines, lines)]


@cache
def _lines(dynos: int) -> list[SimulatedLine]:
    return list(islice(in_shares(lines_by_class(dynos), SHARES), CORPUS_LINES))


def _post(lines: list[SimulatedLine]) -> Post:
    statuses = Counter(status_label(line.status) for line in lines if line.status is not None)
    codes = Counter(line.code for line in lines if line.code)
    return Post(b"".join(line.frame for line in lines), len(lines), statuses, codes)
