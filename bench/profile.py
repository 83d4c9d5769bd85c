"""Where a busy worker's CPU time goes: `python -m bench.profile`. One worker, POSTs of 100 lines
without pause; the service samples itself (bench.profiled).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import table
from bench.process import service
from bench.profiled import FILE
from bench.results import keep
from bench.rounds import Load, take
from bench.target import Dynometer

SHOWN_MIN = 0.015
_WARM_UP = 500  # POSTs
Samples = Counter[tuple[str, ...]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--apps", type=int, default=1)
    parser.add_argument("--lines-per-post", type=int, default=100)
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    rows = sampled(Load(arguments.posts, arguments.lines_per_post, arguments.apps))
    print("\n### Where a busy worker's time goes\n")
    print(shown(rows))
    if arguments.keep:
        keep("profile", rows, {"rounds": 1, "posts": arguments.posts, "apps": arguments.apps})


def sampled(load: Load) -> list[dict[str, object]]:
    """A row for each function, with its own share while accepting and while folding."""
    with TemporaryDirectory(prefix="dynometer-") as place:
        directory = Path(place)
        file = directory / "profile.json"
        with service(directory, "bench.profiled", **{FILE: str(file)}) as (pid, url):
            target = Dynometer(pid, url, directory)
            take(load._replace(posts=_WARM_UP), target, None)
            os.kill(pid, signal.SIGUSR2)
            take(load, target, None)
        found = json.loads(file.read_text())
    every = sum(count for *_, count in found)
    shares: Counter[tuple[str, str, bool]] = Counter()
    for where, function, folding, count in found:
        shares[where, function, folding] += count / every  # type: ignore[assignment]  # a share
    places = {(where, function) for where, function, _ in shares}
    return [
        {
            "file": where,
            "function": function,
            "accepting": round(shares[where, function, False], 4),
            "folding": round(shares[where, function, True], 4),
        }
        for where, function in sorted(places)
    ]


def shown(rows: list[dict[str, object]]) -> str:
    """Two tables: by file, and by function; what is little is left out."""
    return "\n\n".join(_table(rows, names) for names in (("file",), ("file", "function")))


def _table(rows: list[dict[str, object]], names: tuple[str, ...]) -> str:
    totals: dict[str, Samples] = {"accepting": Counter(), "folding": Counter()}
    for each in rows:
        key = tuple(str(each[name]) for name in names)
        for kind, total in totals.items():
            total[key] += each[kind]  # type: ignore[assignment,operator]  # a share
    both = totals["accepting"] + totals["folding"]
    cells = [
        (*key, *(f"{share:.1%}" for share in (both[key], *(t[key] for t in totals.values()))))
        for key, _ in both.most_common()
        if both[key] >= SHOWN_MIN
    ]
    return table((*names, "of the worker's CPU time", "while accepting", "while folding"), cells)


if __name__ == "__main__":
    main()
