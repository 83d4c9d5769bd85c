"""What attacks on the HTTP port cost an honest sender: `python -m bench.attacks`.

One worker is attacked in one way after the other, and in mixes of them, by a process beside it. The
honest sender sends 50 small POSTs a second, half of them over new connections.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import table
from tests.support.attacked_service import MIXES, Outcome, attacked_service
from tests.support.attacks import ATTACKS

HEAD = ("attack", "POSTs", "of them not 200", "p50, ms", "p99, ms", "peak memory, MiB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", help="attacks; NAME,NAME for several at once")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each attack")
    arguments = parser.parse_args()
    names = arguments.names or [*ATTACKS, *MIXES]
    print("\n### Attacks on the HTTP port\n")
    with TemporaryDirectory(prefix="dynometer-") as directory:
        print(table(HEAD, asyncio.run(measure(Path(directory), names, arguments.seconds))))


async def measure(directory: Path, names: list[str], seconds: float) -> list[tuple[str, ...]]:
    """A row for each attack."""
    with attacked_service(directory) as service:
        return [_row(name, await service.attack(name, seconds)) for name in names]


def _row(name: str, outcome: Outcome) -> tuple[str, ...]:
    times_s = sorted(outcome.times_s)
    return (
        name.replace(",", ", ").replace("_", " "),
        f"{len(times_s):,}",
        f"{sum(status != 200 for status in outcome.statuses):,}",
        f"{times_s[len(times_s) // 2] * 1_000:,.0f}",
        f"{outcome.p99_s * 1_000:,.0f}",
        f"{outcome.peak_bytes / 2**20:,.0f}",
    )


if __name__ == "__main__":
    main()
