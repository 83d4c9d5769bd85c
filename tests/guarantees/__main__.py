"""Runs all drills at full size, and updates the table in docs/guarantees.md."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.guarantees.drills import BY_NAME
from tests.support.drill import Drill, Result, Size, run

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
_TABLE = re.compile(r"(<!-- drills -->\n)(.*)(?=<!-- /drills -->)", re.DOTALL)
_HEAD = (
    "| fault | messages sent | kills | rejected | uncertain "
    "| acknowledged = counted | differences |"
)


def main() -> int:
    """Run the requested drills; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="make guarantees", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds")
    parser.add_argument("--rate", type=int, default=4_000, help="messages a second")
    parser.add_argument("--only", choices=BY_NAME, nargs="*", default=list(BY_NAME))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    size = Size(
        messages=arguments.messages,
        kills=arguments.kills,
        outage_s=arguments.outage,
        messages_per_s=arguments.rate,
    )
    results = [
        (BY_NAME[name], _run(BY_NAME[name], size, arguments.seed)) for name in arguments.only
    ]
    _write(results)
    return 0 if all(result.passed for _, result in results) else 1


def _run(drill: Drill, size: Size, seed: int) -> Result:
    print(f"{drill.name:<20} {drill.description} …", end=" ", flush=True)
    result = asyncio.run(run(drill, size, seed))
    print(
        f"{'ok' if result.passed else 'FAILED'}: {result.offered:,} sent, "
        f"{result.acknowledged:,} acknowledged, {result.rejected:,} rejected, "
        f"{result.uncertain:,} uncertain, {result.kills} kills, {result.seconds:.0f} s",
        flush=True,
    )
    for note in result.notes:
        print(f"    {note}")
    for problem in (*result.problems, *result.differences):
        print(f"    {problem}", file=sys.stderr)
    return result


def _write(results: Sequence[tuple[Drill, Result]]) -> None:
    """Update the table in the page. Rows of drills that were not run stay."""
    page = PAGE.read_text()
    table_match = _TABLE.search(page)
    assert table_match is not None
    rows = {line.split(" | ")[0]: line for line in table_match[2].splitlines()}
    rows.update({f"| {drill.description}": _row(drill, result) for drill, result in results})
    ordered_rows = [
        rows[head] for drill in BY_NAME.values() if (head := f"| {drill.description}") in rows
    ]
    table = "\n".join([_HEAD, "|---|---|---|---|---|---|---|", *ordered_rows, ""])
    PAGE.write_text(f"{page[: table_match.start(2)]}{table}{page[table_match.end(2) :]}")


def _row(drill: Drill, result: Result) -> str:
    return (
        f"| {drill.description} | {result.offered:,} | {result.kills} | {result.rejected:,} | "
        f"{result.uncertain:,} | {result.acknowledged:,} | "
        f"{len(result.differences) + len(result.problems)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
