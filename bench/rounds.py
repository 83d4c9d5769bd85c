"""Rounds in which Dynometer and the floor get the same POSTs in turn.

The results are medians of CPU seconds per million lines, and the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from bench.measure import median_ratio
from bench.sender import requests, send, sent_totals
from bench.target import Target
from bench.traffic import posts

_MILLION = 1_000_000
ROLES = ("worker", "store", "supervisor")


class Load(NamedTuple):
    """The POSTs of a round."""

    posts: int
    lines_per_post: int = 100
    apps: int = 1
    dynos: int = 8
    connections: int = 32
    asgi: bool = False  # with a header that the fast path does not accept
    corpus: str = "usual"  # of bench.corpora

    @property
    def name(self) -> str:
        """A prefix that separates the apps of one load from those of another."""
        return f"l{self.lines_per_post}-a{self.apps}-d{self.dynos}"


@dataclass
class Costs:
    """CPU seconds per million lines of a target, by round."""

    totals: list[float] = field(default_factory=list)
    by_role: dict[str, list[float]] = field(default_factory=dict)
    posts_per_s: list[float] = field(default_factory=list)  # by the wall clock, for orientation


def run_round(load: Load, target: Target, costs: Costs | None) -> None:
    """Run one round and add its costs; the warm-up round has no `costs`."""
    corpus = posts(load.lines_per_post, load.dynos, load.apps, load.corpus)
    count = max(load.posts, target.posts_min)
    total = sent_totals(corpus, count)
    source = requests(corpus, load.apps, load.name, asgi=load.asgi)
    before = target.cpu_s()
    took_s = send(target.url, source, count, load.connections)
    target.settle(total)
    after = target.cpu_s()
    target.check(total)
    if costs is None:
        return
    millions = total.lines / _MILLION
    costs.totals.append(sum(after[role] - before[role] for role in after) / millions)
    for role in after:
        costs.by_role.setdefault(role, []).append((after[role] - before[role]) / millions)
    costs.posts_per_s.append(count / took_s)


def compare(load: Load, targets: Sequence[Target], rounds: int) -> dict[str, Costs]:
    """Run all targets in turn; the order is reversed every other round."""
    costs_by_target = {target.name: Costs() for target in targets}
    for number in range(rounds + 1):
        for target in targets if number % 2 else reversed(targets):
            run_round(load, target, costs_by_target[target.name] if number else None)
    return costs_by_target


def result_row(load: Load, costs_by_target: dict[str, Costs]) -> dict[str, object]:
    """A result as it is saved: the load, medians, and every round."""
    own_costs, floor_costs = costs_by_target["dynometer"], costs_by_target["floor"]
    return {
        **load._asdict(),
        "floor": round(median(floor_costs.totals), 3),
        "total": round(median(own_costs.totals), 3),
        **{role: round(median(own_costs.by_role.get(role, [0])), 3) for role in ROLES},
        "ratio": round(median_ratio(own_costs.totals, floor_costs.totals), 2),
        "posts_per_s": round(median(own_costs.posts_per_s)),
        "rounds": {
            name: [round(seconds, 3) for seconds in costs.totals]
            for name, costs in costs_by_target.items()
        },
    }
