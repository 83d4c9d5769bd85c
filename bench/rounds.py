"""Rounds in which Dynometer and the floor get the same POSTs in turn.

The results are medians of CPU seconds per million lines, and the median of the rounds' ratios. The
CPU time that a target takes without any POST is measured too, and subtracted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from bench.measure import median_ratio
from bench.sender import connected_sender, requests_by_connection, sent_totals
from bench.target import Target
from bench.traffic import posts

_MILLION = 1_000_000
ROLES = ("worker", "store", "supervisor")
BUSY_CONNECTIONS = 32  # of one app, or of several that take turns: POSTs without pause
IDLE_S = 10.0
_NO_CPU: Counter[str] = Counter()


class Load(NamedTuple):
    """The POSTs of a round. With as many connections as apps, each app has one that waits for its
    answers, as Logplex does. With fewer, a connection serves several apps in turn.
    """

    posts: int
    lines_per_post: int = 100
    apps: int = 1
    dynos: int = 8
    connections: int = 1
    packets: int = 1  # 2: head and body arrive separately
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
    idle_ms: float = 0.0  # of CPU in a second without POSTs


def run_round(
    load: Load, target: Target, costs: Costs | None, idle_s: Mapping[str, float] = _NO_CPU
) -> None:
    """Run one round and add its costs; the warm-up round has no `costs`.

    `idle_s`: CPU seconds that each role takes in a second without POSTs.
    """
    corpus = posts(load.lines_per_post, load.dynos, load.apps, load.corpus)
    count = max(load.posts, target.posts_min)
    total = sent_totals(corpus, count)
    sources = requests_by_connection(corpus, load.apps, load.connections, load.name, asgi=load.asgi)
    with connected_sender(target.url, load.connections, is_split=load.packets > 1) as sender:
        before, began_s = target.cpu_s(), time.monotonic()
        took_s = sender.send(sources, count)
        target.settle(total)
        after, ended_s = target.cpu_s(), time.monotonic()
        target.note_memory()
    target.check(total)
    if costs is None:
        return
    millions = total.lines / _MILLION
    spent_s = {
        role: after[role] - before[role] - idle_s.get(role, 0.0) * (ended_s - began_s)
        for role in after
    }
    costs.totals.append(sum(spent_s.values()) / millions)
    for role, seconds in spent_s.items():
        costs.by_role.setdefault(role, []).append(seconds / millions)
    costs.posts_per_s.append(count / took_s)


def compare(
    load: Load, targets: Sequence[Target], rounds: int, other_load: Load | None = None
) -> dict[str, Costs]:
    """Run all targets in turn; the order is reversed every other round.

    `other_load`: of the target "other", if it gets other POSTs.
    """
    costs_by_target = {target.name: Costs() for target in targets}
    loads = {target.name: load for target in targets} | {"other": other_load or load}
    for target in targets:
        run_round(loads[target.name], target, None)
    idle_by_target = measure_idle(targets)
    for target in targets:
        costs_by_target[target.name].idle_ms = 1000 * sum(idle_by_target[target.name].values())
    for number in range(rounds):
        for target in targets if number % 2 else reversed(targets):
            name = target.name
            run_round(loads[name], target, costs_by_target[name], idle_by_target[name])
    return costs_by_target


def measure_idle(targets: Sequence[Target]) -> dict[str, dict[str, float]]:
    """CPU seconds of each target, by role, in a second without POSTs."""
    before = [target.cpu_s() for target in targets]
    time.sleep(IDLE_S)
    return {
        target.name: {
            role: (seconds - cpu_s[role]) / IDLE_S for role, seconds in target.cpu_s().items()
        }
        for target, cpu_s in zip(targets, before, strict=True)
    }


def result_row(load: Load, costs_by_target: dict[str, Costs]) -> dict[str, object]:
    """A result as it is saved: the load, medians, and every round.

    `relative` compares with another version or corpus, if it was measured beside: 0.5 for half its
    CPU time.
    """
    own_costs, floor_costs = costs_by_target["dynometer"], costs_by_target["floor"]
    row: dict[str, object] = {
        **load._asdict(),
        "floor": round(median(floor_costs.totals), 3),
        "total": round(median(own_costs.totals), 3),
        **{role: round(median(own_costs.by_role.get(role, [0])), 3) for role in ROLES},
        "ratio": round(median_ratio(own_costs.totals, floor_costs.totals), 2),
        "posts_per_s": round(median(own_costs.posts_per_s)),
        "idle_ms": round(own_costs.idle_ms, 1),
        "rounds": {
            name: [round(seconds, 3) for seconds in costs.totals]
            for name, costs in costs_by_target.items()
        },
    }
    if other_costs := costs_by_target.get("other"):
        row["other_ratio"] = round(median_ratio(other_costs.totals, floor_costs.totals), 2)
        row["relative"] = round(median_ratio(own_costs.totals, other_costs.totals), 2)
    return row
