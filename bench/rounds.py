"""Rounds in which Dynometer and the floor take turns at the same POSTs, and what comes out of them:
medians of CPU seconds per million lines, and the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from bench.measure import median_ratio
from bench.sender import requests, send, sent
from bench.target import Target
from bench.traffic import posts

_MILLION = 1_000_000
ROLES = ("worker", "store", "supervisor")


class Load(NamedTuple):
    """What is sent in a round."""

    posts: int
    lines_per_post: int = 100
    apps: int = 1
    dynos: int = 8
    connections: int = 32

    @property
    def name(self) -> str:
        """Tells the apps of one load from those of another."""
        return f"l{self.lines_per_post}-a{self.apps}-d{self.dynos}"


@dataclass
class Taken:
    """What a target spent on a load, per million lines, round by round."""

    totals: list[float] = field(default_factory=list)
    by_role: dict[str, list[float]] = field(default_factory=dict)
    posts_per_s: list[float] = field(default_factory=list)  # on the wall clock: orientation


def take(load: Load, target: Target, taken: Taken | None) -> None:
    """One round. The first one warms up: it has no `taken`."""
    corpus = posts(load.lines_per_post, load.dynos, load.apps)
    count = max(load.posts, target.posts_min)
    total = sent(corpus, count)
    source = requests(corpus, load.apps, load.name)
    before = target.spent()
    took_s = send(target.url, source, count, load.connections)
    target.settle(total)
    after = target.spent()
    target.check(total)
    if taken is None:
        return
    millions = total.lines / _MILLION
    taken.totals.append(sum(after[role] - before[role] for role in after) / millions)
    for role in after:
        taken.by_role.setdefault(role, []).append((after[role] - before[role]) / millions)
    taken.posts_per_s.append(count / took_s)


def compare(load: Load, targets: Sequence[Target], rounds: int) -> dict[str, Taken]:
    """The targets in turns, in the other order every other round."""
    found = {target.name: Taken() for target in targets}
    for number in range(rounds + 1):
        for target in targets if number % 2 else reversed(targets):
            take(load, target, found[target.name] if number else None)
    return found


def row(load: Load, found: dict[str, Taken]) -> dict[str, object]:
    """As it is kept: what was sent, medians, and the rounds themselves."""
    ours, floor = found["dynometer"], found["floor"]
    return {
        **load._asdict(),
        "floor": round(median(floor.totals), 3),
        "total": round(median(ours.totals), 3),
        **{role: round(median(ours.by_role.get(role, [0])), 3) for role in ROLES},
        "ratio": round(median_ratio(ours.totals, floor.totals), 2),
        "posts_per_s": round(median(ours.posts_per_s)),
        "rounds": {
            name: [round(each, 3) for each in taken.totals] for name, taken in found.items()
        },
    }
