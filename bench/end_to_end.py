"""The cost of a million lines end to end: `python -m bench.end_to_end`.

CPU time of worker, store and folding, until everything is folded, compared with the floor: a
uvicorn that discards bodies. It counts every process on the receiving side, as the operating
system accounts for it. After each round the service must have counted exactly the lines that were
sent, requests by status, and errors by code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from app.folding.fold_worker import SMALL_INBOX
from bench.corpora import CORPORA, WITH_MARKS
from bench.history import fill_history
from bench.measure import table
from bench.results import save
from bench.rounds import Load, compare, result_row
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
_GROW_LINES = 300_000  # in a round, if the number of POSTs is in this range
_GROW_POSTS = (1_500, 6_000)
_VARIED = ("lines_per_post", "apps", "dynos", "workers")
HEAD = (
    *("floor", "worker", "store", "all"),
    *("ratio to the floor", "µs per POST above the floor", "worker memory, MiB"),
)


class Case(NamedTuple):
    """A load and the service that receives it."""

    load: Load
    workers: int = 1
    history_days: int = 0  # in the store before, of one app with as many dynos


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.end_to_end", description=__doc__)
    parser.add_argument("--lines-per-post", type=_numbers, default=[100], metavar="N,N")
    parser.add_argument("--apps", type=_numbers, default=None, metavar="N,N")
    parser.add_argument("--dynos", type=_numbers, default=[8], metavar="N,N")
    parser.add_argument("--workers", type=_numbers, default=[1], metavar="N,N")
    parser.add_argument("--posts", type=int, help="per round")
    parser.add_argument("--rounds", type=int, default=5, help="after a warm-up round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument(
        "--grow", action="store_true", help="measure how cost grows, one parameter at a time"
    )
    parser.add_argument(
        "--only", choices=[name for name, _ in _GROW], help="with --grow: only this parameter"
    )
    parser.add_argument(
        "--asgi", action="store_true", help="POSTs that the fast path leaves to the ASGI app"
    )
    parser.add_argument("--corpus", choices=CORPORA, default="usual", help="the form of the lines")
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    arguments = parser.parse_args()
    if arguments.grow:
        for name, values in _GROW:
            if arguments.only not in (None, name):
                continue
            print(f"\n### How cost grows: {name.replace('_', ' ')}\n")
            report(f"grow_{name}", list(_growth_cases(name, values, arguments)), arguments)
    else:
        print("\n### CPU seconds per million lines, end to end\n")
        name = "end_to_end_asgi" if arguments.asgi else "end_to_end"
        if arguments.corpus != "usual":
            name += f"_{arguments.corpus}"
        report(name, list(_headline_cases(arguments)), arguments)


def report(name: str, cases: Sequence[Case], arguments: argparse.Namespace) -> None:
    """Measure and print; save with --keep."""
    rows = measure(cases, arguments.rounds)
    print(format_table(rows), flush=True)
    if arguments.keep:
        save(name, rows, {"rounds": arguments.rounds})


def measure(cases: Sequence[Case], rounds: int) -> list[dict[str, Any]]:
    """A row for each case."""
    rows = []
    for load, workers, days in cases:
        with (
            TemporaryDirectory(prefix="dynometer-") as directory,
            dynometer(Path(directory), workers, **_settings(load)) as service,
            floor(workers) as floor_target,
        ):
            if days:
                run(fill_history(service, f"{load.name}-0", days, load.dynos))
            if load.corpus in WITH_MARKS:
                service.switch_custom_on([f"{load.name}-{number}" for number in range(load.apps)])
            costs = compare(load, (floor_target, service), rounds)
            resident_mib = service.resident_mib()
        case = {"workers": workers, "history_days": days, "resident_mib": resident_mib}
        rows.append({**case, **result_row(load, costs)})
    return rows


def _settings(load: Load) -> dict[str, str]:
    """With few POSTs per app, fold sooner: the round waits for folding."""
    quiet = load.posts < SMALL_INBOX * load.apps
    return {"DYNOMETER_FOLD_INTERVAL": "1s"} if quiet else {}


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table; floor, worker, store and all are CPU seconds per million lines."""
    columns = [*_VARIED, *(["history_days"] if any(row["history_days"] for row in rows) else [])]
    cells = []
    for row in rows:
        above_us = (row["total"] - row["floor"]) * row["lines_per_post"]
        cells.append(
            [
                *(f"{row[name]:,}" for name in columns),
                *(f"{row[name]:.2f}" for name in ("floor", "worker", "store", "total")),
                *(f"{row['ratio']:.1f}", f"{above_us:,.0f}", f"{row['resident_mib']}"),
            ]
        )
    return table([*(name.replace("_", " ") for name in columns), *HEAD], cells)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _headline_cases(arguments: argparse.Namespace) -> Iterator[Case]:
    apps = arguments.apps or [number for number, _ in HEADLINE]
    for workers, lines, number, dynos in product(
        arguments.workers, arguments.lines_per_post, apps, arguments.dynos
    ):
        posts = arguments.posts or dict(HEADLINE).get(number, HEADLINE[-1][1])
        load = Load(posts, lines, number, dynos, arguments.connections, arguments.asgi)
        load = load._replace(corpus=arguments.corpus)
        yield Case(load, workers)


def _growth_cases(
    name: str, values: Sequence[int], arguments: argparse.Namespace
) -> Iterator[Case]:
    default_case = Case(Load(0, connections=arguments.connections))
    for value in values:
        case = default_case
        if name in Case._fields:
            case = default_case._replace(**{name: value})
        load = (
            case.load if case is not default_case else default_case.load._replace(**{name: value})
        )
        least, most = _GROW_POSTS
        posts = arguments.posts or max(least, min(most, _GROW_LINES // load.lines_per_post))
        yield case._replace(load=load._replace(posts=posts))


if __name__ == "__main__":
    main()
