"""Has it become slower? `python -m bench.check` measures the ratios to the floor again and compares
them with those that are kept. By hand or nightly: it takes minutes.

A busy machine makes both sides of a ratio slower, and a median of interleaved rounds passes over
what is not slow for long; a ratio that is too high is measured again, and counts only if it is so
every time. So noise does not fail it; a change that costs a quarter more does.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bench.end_to_end import Case, measure, shown
from bench.results import kept
from bench.rounds import Load

MARGIN = 0.25
TRIES = 3


def main() -> int:
    """1 when something has become slower."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--margin", type=float, default=MARGIN)
    arguments = parser.parse_args()
    rows = kept("end_to_end")["rows"]
    slower = [each for each in rows if is_slower(each, arguments)]
    for each in slower:
        print(f"slower than kept: {each['apps']} apps, {each['lines_per_post']} lines a POST")
    return 1 if slower else 0


def is_slower(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Whether a kept row's ratio is exceeded, every time."""
    load = Load(**{name: row[name] for name in Load._fields})
    for number in range(TRIES):
        found = measure([Case(load, row["workers"])], arguments.rounds)
        print(f"\nkept: {row['ratio']}; try {number + 1}:\n\n{shown(found)}", flush=True)
        if float(str(found[0]["ratio"])) <= row["ratio"] * (1 + arguments.margin):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
