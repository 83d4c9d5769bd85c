"""What a million lines cost end to end: worker, store and folding, until everything is folded;
beside the floor, a uvicorn that throws bodies away. `python -m bench.end_to_end`.

CPU time of every process on the receiving side, from the operating system. After each round the
service must have counted exactly what was sent: lines, requests by status, errors by code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from app.folding.fold_worker import SMALL_INBOX
from bench.history import remember
from bench.measure import table
from bench.results import keep
from bench.rounds import Load, compare, row
from bench.sender import run
from bench.target import dynometer, floor

HEADLINE = ((1, 10_000), (100, 10_000))  # apps, posts
_GROW: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("lines_per_post", (1, 10, 100, 500)),
    ("apps", (1, 20, 200, 2_000)),
    ("dynos", (1, 8, 100)),
    ("workers", (1, 2)),
    ("history_days", (0, 1, 7, 90)),
)
_GROW_LINES = 300_000  # in a round, within these numbers of POSTs
_GROW_POSTS = (1_500, 6_000)
_VARIED = ("lines_per_post", "apps", "dynos", "workers")
HEAD = (
    *("floor", "worker", "store", "all"),
    *("ratio to the floor", "µs a POST over the floor", "a worker's memory, MiB"),
)


class Case(NamedTuple):
    """What is measured at a time."""

    load: Load
    workers: int = 1
    history_days: int = 0  # of one app with as many dynos, before


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.end_to_end", description=__doc__)
    parser.add_argument("--lines-per-post", type=_numbers, default=[100], metavar="N,N")
    parser.add_argument("--apps", type=_numbers, default=None, metavar="N,N")
    parser.add_argument("--dynos", type=_numbers, default=[8], metavar="N,N")
    parser.add_argument("--workers", type=_numbers, default=[1], metavar="N,N")
    parser.add_argument("--posts", type=int, help="in a round")
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--grow", action="store_true", help="how cost grows, one thing at a time")
    parser.add_argument("--only", choices=[name for name, _ in _GROW], help="with --grow: this one")
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    if arguments.grow:
        for name, values in _GROW:
            if arguments.only not in (None, name):
                continue
            print(f"\n### How cost grows: {name.replace('_', ' ')}\n")
            report(f"grow_{name}", list(_growing(name, values, arguments)), arguments)
    else:
        print("\n### CPU seconds per million lines, end to end\n")
        report("end_to_end", list(_asked(arguments)), arguments)


def report(name: str, cases: Sequence[Case], arguments: argparse.Namespace) -> None:
    """Measure, print, and keep if asked to."""
    rows = measure(cases, arguments.rounds)
    print(shown(rows), flush=True)
    if arguments.keep:
        keep(name, rows, {"rounds": arguments.rounds})


def measure(cases: Sequence[Case], rounds: int) -> list[dict[str, Any]]:
    """A row for each."""
    rows = []
    for load, workers, days in cases:
        with (
            TemporaryDirectory(prefix="dynometer-") as directory,
            dynometer(Path(directory), workers, **_settings(load)) as service,
            floor(workers) as nothing,
        ):
            if days:
                run(remember(service, f"{load.name}-0", days, load.dynos))
            found = compare(load, (nothing, service), rounds)
            resident_mib = service.resident_mib()
        case = {"workers": workers, "history_days": days, "resident_mib": resident_mib}
        rows.append({**case, **row(load, found)})
    return rows


def _settings(load: Load) -> dict[str, str]:
    """Of apps of which a round brings next to nothing, folding is waited for."""
    quiet = load.posts < SMALL_INBOX * load.apps
    return {"DYNOMETER_FOLD_INTERVAL": "1s"} if quiet else {}


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """As a table; "floor", "worker", "store" and "all" are CPU seconds per million lines."""
    varied = [*_VARIED, *(["history_days"] if any(each["history_days"] for each in rows) else [])]
    cells = []
    for each in rows:
        above_us = (each["total"] - each["floor"]) * each["lines_per_post"]
        cells.append(
            [
                *(f"{each[name]:,}" for name in varied),
                *(f"{each[name]:.2f}" for name in ("floor", "worker", "store", "total")),
                *(f"{each['ratio']:.1f}", f"{above_us:,.0f}", f"{each['resident_mib']}"),
            ]
        )
    return table([*(name.replace("_", " ") for name in varied), *HEAD], cells)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _asked(arguments: argparse.Namespace) -> Iterator[Case]:
    apps = arguments.apps or [number for number, _ in HEADLINE]
    for workers, lines, number, dynos in product(
        arguments.workers, arguments.lines_per_post, apps, arguments.dynos
    ):
        posts = arguments.posts or dict(HEADLINE).get(number, HEADLINE[-1][1])
        yield Case(Load(posts, lines, number, dynos, arguments.connections), workers)


def _growing(name: str, values: Sequence[int], arguments: argparse.Namespace) -> Iterator[Case]:
    usual = Case(Load(0, connections=arguments.connections))
    for value in values:
        case = usual
        if name in Case._fields:
            case = usual._replace(**{name: value})
        load = case.load if case is not usual else usual.load._replace(**{name: value})
        least, most = _GROW_POSTS
        posts = arguments.posts or max(least, min(most, _GROW_LINES // load.lines_per_post))
        yield case._replace(load=load._replace(posts=posts))


if __name__ == "__main__":
    main()
