"""What a million lines cost end to end: worker, store and folding, until everything is folded;
beside the floor, a uvicorn that throws bodies away. `python -m bench.end_to_end`.

CPU time of every process on the receiving side, from the operating system. After each round the
service must have counted exactly what was sent: lines, requests by status, errors by code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import table
from bench.results import keep
from bench.rounds import Load, compare, row
from bench.target import dynometer, floor

HEADLINE = ((1, 10_000), (100, 10_000))  # apps, posts
_GROW: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("lines_per_post", (1, 10, 100, 500)),
    ("apps", (1, 20, 200, 2_000)),
    ("dynos", (1, 8, 100)),
    ("workers", (1, 2)),
)
_GROW_LINES = 300_000  # in a round, within these numbers of POSTs
_GROW_POSTS = (1_500, 6_000)
HEAD = (
    *("lines a POST", "apps", "dynos", "workers", "floor", "worker", "store", "all"),
    *("ratio to the floor", "µs a POST over the floor"),
)


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
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    if arguments.grow:
        for name, values in _GROW:
            print(f"\n### How cost grows: {name.replace('_', ' ')}\n")
            report(f"grow_{name}", list(_growing(name, values, arguments)), arguments)
    else:
        print("\n### CPU seconds per million lines, end to end\n")
        report("end_to_end", list(_asked(arguments)), arguments)


def report(
    name: str, loads: Sequence[tuple[int, Load]], arguments: argparse.Namespace
) -> list[dict[str, object]]:
    """Measure, print, and keep if asked to."""
    rows = measure(loads, arguments.rounds)
    print(shown(rows))
    if arguments.keep:
        keep(name, rows, {"rounds": arguments.rounds})
    return rows


def measure(loads: Sequence[tuple[int, Load]], rounds: int) -> list[dict[str, object]]:
    """A row for each (workers, load)."""
    rows = []
    for workers, load in loads:
        with (
            TemporaryDirectory(prefix="dynometer-") as directory,
            dynometer(Path(directory), workers) as service,
            floor(workers) as nothing,
        ):
            found = compare(load, (nothing, service), rounds)
        rows.append({"workers": workers, **row(load, found)})
    return rows


def shown(rows: Sequence[dict[str, object]]) -> str:
    """As a table; "floor", "worker", "store" and "all" are CPU seconds per million lines."""
    cells = []
    for each in rows:
        above = (float(each["total"]) - float(each["floor"])) * float(each["lines_per_post"])  # type: ignore[arg-type]
        cells.append(
            [
                *(each[name] for name in ("lines_per_post", "apps", "dynos", "workers")),
                *(f"{each[name]:.2f}" for name in ("floor", "worker", "store", "total", "ratio")),
                f"{above:,.0f}",
            ]
        )
    return table(HEAD, cells)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _asked(arguments: argparse.Namespace) -> Iterator[tuple[int, Load]]:
    apps = arguments.apps or [number for number, _ in HEADLINE]
    for workers, lines, number, dynos in product(
        arguments.workers, arguments.lines_per_post, apps, arguments.dynos
    ):
        posts = arguments.posts or dict(HEADLINE).get(number, HEADLINE[-1][1])
        yield workers, Load(posts, lines, number, dynos, arguments.connections)


def _growing(
    name: str, values: Sequence[int], arguments: argparse.Namespace
) -> Iterator[tuple[int, Load]]:
    for value in values:
        load = Load(0, connections=arguments.connections)
        workers = value if name == "workers" else 1
        if name != "workers":
            load = load._replace(**{name: value})
        least, most = _GROW_POSTS
        posts = arguments.posts or max(least, min(most, _GROW_LINES // load.lines_per_post))
        yield workers, load._replace(posts=posts)


if __name__ == "__main__":
    main()
