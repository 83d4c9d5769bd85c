"""The CPU time of a service that has little to do: `python -m bench.idle`.

First nothing is sent at all. Then quiet apps send one POST of 10 lines a minute each, over
connections of their own. What they cost counts from the minute on in which they are known to be
quiet, so folding has become rare.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import table
from bench.results import save
from bench.sender import (
    Connection,
    OpenConnections,
    Request,
    fail,
    on_last_cpu,
    requests_by_connection,
    run,
)
from bench.target import Dynometer, dynometer
from bench.traffic import posts

APPS = 200
LINES = 10
WARM_UP_S = 240  # until apps are quiet, and judged
_START_S = 10
_MINUTE_S = 60.0
ROLES = ("worker", "store")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--apps", type=int, default=APPS)
    parser.add_argument("--seconds", type=int, default=120, help="measured, of each row")
    parser.add_argument("--warm-up", type=int, default=WARM_UP_S, metavar="SECONDS")
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="measure the code of another checkout too"
    )
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with ExitStack() as running:
        services = []
        for checkout in (None, arguments.beside) if arguments.beside else (None,):
            directory = running.enter_context(TemporaryDirectory(prefix="dynometer-"))
            services.append(running.enter_context(dynometer(Path(directory), checkout=checkout)))
        time.sleep(_START_S)
        rows += measure(services, 0, arguments.seconds)
        with on_last_cpu():
            run(send_quietly(services, arguments, rows))
    print("\n### CPU ms a second with little to do\n")
    print(format_table(rows))
    if arguments.keep:
        save("idle", rows, {"rounds": 1, "seconds": arguments.seconds})


async def send_quietly(
    services: Sequence[Dynometer], arguments: argparse.Namespace, rows: list[dict[str, object]]
) -> None:
    """Let the apps send, and add the rows once they are quiet."""
    sending = [asyncio.create_task(_send(service, arguments.apps)) for service in services]
    await asyncio.sleep(arguments.warm_up)
    rows += await asyncio.to_thread(measure, services, arguments.apps, arguments.seconds)
    for task in sending:
        task.cancel()
    await asyncio.wait(sending)


async def _send(service: Dynometer, apps: int) -> None:
    """Send one POST of each app in a minute, evenly spread."""
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    on_failed = partial(fail, failure)
    async with OpenConnections(service.url, apps, _ignore, on_failed) as connections:
        minute_s = time.monotonic()
        while True:
            sources = requests_by_connection(posts(LINES, 1, apps), apps, apps)
            for number, connection in enumerate(connections):
                await asyncio.sleep(minute_s + _MINUTE_S * number / apps - time.monotonic())
                request: Request = next(sources[number])
                connection.post(request)
                if failure.done():
                    failure.result()
            minute_s += _MINUTE_S


def _ignore(connection: Connection) -> None:
    """An answer has come."""


def measure(services: Sequence[Dynometer], apps: int, seconds: int) -> list[dict[str, object]]:
    """A row for each service: CPU ms a second by role."""
    before = [service.cpu_s() for service in services]
    time.sleep(seconds)
    return [
        {
            "name": service.name,
            "apps": apps,
            **{role: _ms_per_s(service.cpu_s(), cpu_s, role, seconds) for role in ROLES},
        }
        for service, cpu_s in zip(services, before, strict=True)
    ]


def _ms_per_s(after: Counter[str], before: Counter[str], role: str, seconds: int) -> float:
    return round(1000 * (after[role] - before[role]) / seconds, 2)


def format_table(rows: Sequence[dict[str, object]]) -> str:
    """The rows as a table."""
    has_other = any(row["name"] == "other" for row in rows)
    cells = [
        [
            *([row["name"]] if has_other else []),
            row["apps"],
            *(f"{row[role]:.1f}" for role in ROLES),
            f"{sum(float(str(row[role])) for role in ROLES):.1f}",
        ]
        for row in rows
    ]
    head = (*(["code"] if has_other else []), "quiet apps", *ROLES, "together")
    return table(head, cells)


if __name__ == "__main__":
    main()
