"""Flood: senders that are faster than the service, for a minute each.

Measures the waiting time of accepted POSTs and the memory of the worker, also with bodies that are
made to cost as much as possible.
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
BACKGROUND_CONNECTIONS = 4  # connections
_DISTINCT_MINUTES = 1_200


class Flood(NamedTuple):
    """A kind of sender. Each connection sends the next body as soon as the last one is answered."""

    name: str
    connections: int
    bodies: Callable[[], Iterator[bytes]]
    background_bodies: Callable[[], Iterator[bytes]] | None = None  # not measured


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
            bytes_at_start = resident_bytes(pid)
            results = asyncio.run(_flood(flood, url, arguments.seconds))
            rows.append(_row(flood, results, bytes_at_start, resident_bytes(pid, "VmHWM")))
    print(
        table(("senders", "connections", "answers", "p50, ms", "p99, ms", "peak memory, MiB"), rows)
    )


def _row(
    flood: Flood, results: list[tuple[int, float]], bytes_at_start: int, bytes_peak: int
) -> tuple[object, ...]:
    accepted_s = sorted(took_s for status, took_s in results if status == 200)
    statuses = Counter(status for status, _ in results)
    p50, p99 = (
        f"{1000 * accepted_s[int(share * (len(accepted_s) - 1))]:,.0f}" if accepted_s else "-"
        for share in (0.5, 0.99)
    )
    memory = f"{bytes_peak / _MEBIBYTE:,.0f} (idle {bytes_at_start / _MEBIBYTE:,.0f})"
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    return (flood.name, flood.connections, answers, p50, p99, memory)


async def _flood(flood: Flood, url: str, seconds: float) -> list[tuple[int, float]]:
    """(status, seconds) of each answer."""
    results: list[tuple[int, float]] = []
    source = flood.bodies()
    end_s = time.monotonic() + seconds
    senders = [_sender(number, url, source, end_s, results) for number in range(flood.connections)]
    if flood.background_bodies is not None:
        background_source = flood.background_bodies()
        senders += [
            _sender(-number, url, background_source, end_s, [])
            for number in range(1, BACKGROUND_CONNECTIONS + 1)
        ]
    await asyncio.gather(*senders)
    return results


async def _sender(
    number: int, url: str, source: Iterator[bytes], end_s: float, results: list[tuple[int, float]]
) -> None:
    host, port = url.removeprefix("http://").split(":")
    credentials = base64.b64encode(b"app-%d:any" % (number % 20)).decode()
    posts = 0
    while time.monotonic() < end_s:
        reader, writer = await asyncio.open_connection(host, int(port))
        status = 200
        while time.monotonic() < end_s and status == 200:
            body = next(source)
            posts += 1
            head = (
                f"POST /drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n"
                f"Logplex-Frame-Id: {number}-{posts}\r\nContent-Length: {len(body)}\r\n\r\n"
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


def _app_lines() -> Iterator[bytes]:
    """Bodies of 100 lines of a typical app, with current times."""
    return cycle(bodies(frames_by_class(), SHARES, 50, 100, start_s=time.time() - 30))


def _many_names() -> Iterator[bytes]:
    """A body of the largest size: every line from a different dyno, spread over 20 hours."""
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
    Flood("100 lines", 20, _app_lines),
    Flood("100 lines", 200, _app_lines),
    Flood("100 lines", 1_000, _app_lines),
    Flood("16 MiB, a different dyno on each line, over 20 hours", 8, _many_names),
    Flood("16 MiB of tiny frames", 8, _tiny_frames),
    Flood("100 lines, alongside 4 senders of tiny frames", 20, _app_lines, _tiny_frames),
)


if __name__ == "__main__":
    main()
