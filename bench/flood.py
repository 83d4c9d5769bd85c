"""A flood: senders that are faster than the service, for a minute. How long do those wait that are
accepted, and how much memory does the worker take? Then bodies made to cost as much as can be.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from app.traffic.simulated_lines import frame
from bench.corpus import SHARES, bodies, frames_by_class
from bench.measure import table
from bench.process import resident_bytes, service

_MEBIBYTE = 2**20
BODY_BYTES_MAX = 16 * _MEBIBYTE - 4_096
BESIDE = 4  # connections
_DISTINCT_MINUTES = 1_200


class Flood(NamedTuple):
    """A kind of sender: so many connections, each sending the next body as soon as the last one is
    answered.
    """

    name: str
    connections: int
    bodies: Callable[[], Iterator[bytes]]
    beside: Callable[[], Iterator[bytes]] | None = None  # sent meanwhile, and not measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", type=int, choices=range(len(FLOODS)), help="one row")
    arguments = parser.parse_args()
    print(f"## Flood ({arguments.seconds:.0f} s each, one worker)\n")
    rows = []
    for flood in FLOODS if arguments.only is None else [FLOODS[arguments.only]]:
        with (
            TemporaryDirectory(prefix="dynometer-") as directory,
            service(Path(directory), "app.cli serve") as (pid, url),
        ):
            started = resident_bytes(pid)
            results = asyncio.run(_flood(flood, url, arguments.seconds))
            rows.append(_row(flood, results, started, resident_bytes(pid, "VmHWM")))
    print(
        table(("senders", "connections", "answers", "p50, ms", "p99, ms", "most memory, MiB"), rows)
    )


def _row(
    flood: Flood, results: list[tuple[int, float]], started: int, most: int
) -> tuple[object, ...]:
    accepted = sorted(took_s for status, took_s in results if status == 200)
    statuses = Counter(status for status, _ in results)
    p50, p99 = (
        f"{1000 * accepted[int(share * (len(accepted) - 1))]:,.0f}" if accepted else "-"
        for share in (0.5, 0.99)
    )
    memory = f"{most / _MEBIBYTE:,.0f} (at rest {started / _MEBIBYTE:,.0f})"
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    return (flood.name, flood.connections, answers, p50, p99, memory)


async def _flood(flood: Flood, url: str, seconds: float) -> list[tuple[int, float]]:
    """(status, seconds) of each answer."""
    results: list[tuple[int, float]] = []
    source = flood.bodies()
    end_s = time.monotonic() + seconds
    senders = [_sender(number, url, source, end_s, results) for number in range(flood.connections)]
    if flood.beside is not None:
        other = flood.beside()
        senders += [_sender(-number, url, other, end_s, []) for number in range(1, BESIDE + 1)]
    await asyncio.gather(*senders)
    return results


async def _sender(
    number: int, url: str, source: Iterator[bytes], end_s: float, results: list[tuple[int, float]]
) -> None:
    host, port = url.removeprefix("http://").split(":")
    credentials = base64.b64encode(b"app-%d:any" % (number % 20)).decode()
    sent = 0
    while time.monotonic() < end_s:
        reader, writer = await asyncio.open_connection(host, int(port))
        status = 200
        while time.monotonic() < end_s and status == 200:
            body = next(source)
            sent += 1
            head = (
                f"POST /drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n"
                f"Logplex-Frame-Id: {number}-{sent}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began_s = time.monotonic()
            writer.write(head.encode() + body)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
                status = int(answer.split(b" ", 2)[1])
            except (OSError, asyncio.IncompleteReadError):
                status = 0
            results.append((status, time.monotonic() - began_s))
        writer.close()


def _usual() -> Iterator[bytes]:
    """100 lines as apps write them, stamped now."""
    return cycle(bodies(frames_by_class(), SHARES, 50, 100, start_s=time.time() - 30))


def _many_names() -> Iterator[bytes]:
    """As large as may be: every line of a dyno of its own, spread over the day."""
    now_s = time.time() - 60
    lines = []
    size = 0
    number = 0
    while size < BODY_BYTES_MAX:
        number += 1
        text = (
            f"at=info method=GET path=/ host=h fwd=1 dyno=web.{number} connect=1ms "
            f"service={number % 30000}ms status=200 bytes=1"
        )
        at_s = now_s - 60 * (number % _DISTINCT_MINUTES)
        lines.append(frame(158, at_s, "heroku", "router", text))
        size += len(lines[-1])
    return cycle([b"".join(lines[:-1])])


def _tiny_frames() -> Iterator[bytes]:
    return cycle([b"1 x" * (BODY_BYTES_MAX // 3)])


FLOODS = (
    Flood("100 lines", 20, _usual),
    Flood("100 lines", 200, _usual),
    Flood("100 lines", 1_000, _usual),
    Flood("16 MiB, a dyno of its own on each line, over 20 hours", 8, _many_names),
    Flood("16 MiB of tiny frames", 8, _tiny_frames),
    Flood("100 lines, beside 4 senders of the last kind", 20, _usual, _tiny_frames),
)


if __name__ == "__main__":
    main()
