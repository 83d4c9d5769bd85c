"""Checks for regressions: `python -m bench.check` measures the ratios to the floor again.

It compares them with the saved ones. It takes minutes, so run it by hand or at night.

A busy machine slows both sides of a ratio, and the median of alternating rounds ignores short
disturbances. A ratio that is too high is measured again, and counts only if it is too high every
time. So noise does not fail the check, and a change that costs a quarter more does.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bench.end_to_end import Case, format_table, measure
from bench.results import load
from bench.rounds import Load

MARGIN = 0.25
TRIES = 3


def main() -> int:
    """Returns 1 if a ratio has become higher."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--margin", type=float, default=MARGIN)
    arguments = parser.parse_args()
    rows = load("end_to_end")["rows"]
    slower = [row for row in rows if is_slower(row, arguments)]
    for row in slower:
        print(f"slower than saved: {row['apps']} apps, {row['lines_per_post']} lines a POST")
    return 1 if slower else 0


def is_slower(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Whether the saved ratio of a row is exceeded every time."""
    load = Load(**{name: row[name] for name in Load._fields if name in row})
    for number in range(TRIES):
        rows = measure([Case(load, row["workers"])], arguments.rounds)
        print(f"\nsaved: {row['ratio']}; try {number + 1}:\n\n{format_table(rows)}", flush=True)
        if float(str(rows[0]["ratio"])) <= row["ratio"] * (1 + arguments.margin):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
