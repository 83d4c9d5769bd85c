"""The cost of a million lines end to end: `python -m bench.end_to_end`.

Each app has one connection that waits for each answer, as Logplex does; with --connections they
share that many. CPU time of worker, store and folding, until everything is folded, compared with
the floor: a uvicorn that discards bodies. It counts every process on the receiving side, as the
operating system accounts for it, without what they take while idle. After each round the service
must have counted exactly the lines that were sent, requests by status, and errors by code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from app.folding.fold_worker import SMALL_INBOX
from bench.corpora import CORPORA, WITH_MARKS
from bench.history import fill_history
from bench.measure import table
from bench.results import save
from bench.rounds import BUSY_CONNECTIONS, Load, compare, result_row
from bench.sender import run
from bench.target import dynometer, floor

APPS = (1, 20, 200, 2_000)
BUSY_APPS = (1, 100)  # with BUSY_CONNECTIONS
POSTS = 6_000  # in a round
_GROW: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("lines_per_post", (1, 10, 100, 500)),
    ("packets", (1, 2)),
    ("dynos", (1, 8, 100)),
    ("workers", (1, 2)),
    ("history_days", (0, 1, 7, 90)),
)
_VARIED = ("lines_per_post", "packets", "apps", "connections", "dynos", "workers")
HEAD = (
    *("floor", "worker", "store", "all", "ratio to the floor", "µs per POST above the floor"),
    *("idle, ms/s", "worker memory, MiB", "at its peak"),
)
_OTHER_HEAD = ("ratio of the other", "CPU time relative to it")


class Case(NamedTuple):
    """A load and the service that receives it."""

    load: Load
    workers: int = 1
    history_days: int = 0  # in the store before, of one app with as many dynos


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.end_to_end", description=__doc__)
    parser.add_argument("--lines-per-post", type=_numbers, default=[100], metavar="N,N")
    parser.add_argument("--packets", type=_numbers, default=[1], metavar="N,N", help="1 or 2")
    parser.add_argument("--apps", type=_numbers, metavar="N,N")
    parser.add_argument("--dynos", type=_numbers, default=[8], metavar="N,N")
    parser.add_argument("--workers", type=_numbers, default=[1], metavar="N,N")
    parser.add_argument("--posts", type=int, help="per round")
    parser.add_argument("--rounds", type=int, default=5, help="after a warm-up round")
    parser.add_argument("--connections", type=int, help="of all apps together")
    parser.add_argument(
        "--busy", action="store_true", help=f"{BUSY_CONNECTIONS} connections that never wait"
    )
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
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="measure the code of another checkout in turns"
    )
    parser.add_argument(
        "--beside-corpus", choices=CORPORA, help="measure lines of another form in turns"
    )
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
        name = "busy" if arguments.busy else "end_to_end"
        if arguments.asgi:
            name += "_asgi"
        if arguments.corpus != "usual":
            name += f"_{arguments.corpus}"
        report(name, list(_headline_cases(arguments)), arguments)


def report(name: str, cases: Sequence[Case], arguments: argparse.Namespace) -> None:
    """Measure and print; save with --keep."""
    rows = measure(cases, arguments.rounds, arguments.beside, arguments.beside_corpus)
    print(format_table(rows), flush=True)
    if arguments.keep:
        save(name, rows, {"rounds": arguments.rounds})


def measure(
    cases: Sequence[Case], rounds: int, beside: Path | None = None, beside_corpus: str | None = None
) -> list[dict[str, Any]]:
    """A row for each case.

    Args:
        beside: another checkout, whose service is measured in turns.
        beside_corpus: of the POSTs to a second service, which is measured in turns.
    """
    rows = []
    if beside_corpus:
        beside = beside or Path.cwd()
    for load, workers, days in cases:
        loads = [load]
        if beside:
            loads.append(load._replace(corpus=beside_corpus or load.corpus))
        with ExitStack() as running:
            services = []
            for service_load, checkout in zip(loads, (None, beside), strict=False):
                directory = running.enter_context(TemporaryDirectory(prefix="dynometer-"))
                started = dynometer(Path(directory), workers, checkout, **_settings(load))
                service = running.enter_context(started)
                services.append(service)
                if days:
                    run(fill_history(service, f"{load.name}-0", days, load.dynos))
                if service_load.corpus in WITH_MARKS:
                    service.switch_custom_on([f"{load.name}-{n}" for n in range(load.apps)])
            floor_target = running.enter_context(floor(workers))
            costs = compare(load, (floor_target, *services), rounds, loads[-1])
            memory = {
                "resident_mib": services[0].received_mib,
                "peak_mib": services[0].resident_mib("VmHWM"),
            }
        rows.append({"workers": workers, "history_days": days, **result_row(load, costs), **memory})
    return rows


def _settings(load: Load) -> dict[str, str]:
    """With few POSTs per app, fold sooner: the round waits for folding."""
    quiet = load.posts < SMALL_INBOX * load.apps
    return {"DYNOMETER_FOLD_INTERVAL": "1s"} if quiet else {}


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table; floor, worker, store and all are CPU seconds per million lines."""
    columns = [*_VARIED, *(["history_days"] if any(row["history_days"] for row in rows) else [])]
    has_other = any("relative" in row for row in rows)
    cells = []
    for row in rows:
        above_us = (row["total"] - row["floor"]) * row["lines_per_post"]
        cells.append(
            [
                *(f"{row[name]:,}" for name in columns),
                *(f"{row[name]:.2f}" for name in ("floor", "worker", "store", "total")),
                *(f"{row['ratio']:.1f}", f"{above_us:,.0f}", f"{row['idle_ms']:.1f}"),
                *(f"{row[name]:.0f}" for name in ("resident_mib", "peak_mib")),
                *([f"{row['other_ratio']:.1f}", f"{row['relative']:.2f}"] if has_other else []),
            ]
        )
    names = [name.replace("_", " ") for name in columns]
    return table([*names, *HEAD, *(_OTHER_HEAD if has_other else ())], cells)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _headline_cases(arguments: argparse.Namespace) -> Iterator[Case]:
    apps = arguments.apps or (BUSY_APPS if arguments.busy else APPS)
    for workers, lines, packets, number, dynos in product(
        arguments.workers, arguments.lines_per_post, arguments.packets, apps, arguments.dynos
    ):
        load = Load(
            arguments.posts or max(POSTS, SMALL_INBOX * number),
            lines,
            number,
            dynos,
            arguments.connections or (BUSY_CONNECTIONS if arguments.busy else number),
            packets,
            arguments.asgi,
            arguments.corpus,
        )
        yield Case(load, workers)


def _growth_cases(
    name: str, values: Sequence[int], arguments: argparse.Namespace
) -> Iterator[Case]:
    load = Load(arguments.posts or POSTS, asgi=arguments.asgi)
    if arguments.busy:
        load = load._replace(connections=BUSY_CONNECTIONS)
    for value in values:
        if name in Case._fields:
            yield Case(load)._replace(**{name: value})
        else:
            yield Case(load._replace(**{name: value}))


if __name__ == "__main__":
    main()
