"""Attacks on the HTTP port, each run as its own process: python -m tests.support.attacks NAME …

They use only what their attackers have: strangers nothing, senders the secret of one app.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from tests.support.hostile_marks import HostileMarks
from tests.support.lines import frame, router

MEBIBYTE = 2**20
CONNECT_PARALLEL = 100


class Target(NamedTuple):
    """The port of the service, the Authorization of one app, and the time of the attack's end."""

    port: int
    authorization: str
    end_s: float

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.end_s

    def drain_head(self, *fields: str) -> bytes:
        lines = [
            *("POST /drain HTTP/1.1", "Host: localhost"),
            *(f"Authorization: {self.authorization}", *fields),
        ]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


Attack = Callable[[Target], Awaitable[None]]


async def _hold(target: Target, data: bytes, connections: int, *, reads: bool = False) -> None:
    """Send the same from many connections and hold them open, again and again."""

    async def one() -> None:
        while target.is_on:
            with suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                try:
                    writer.write(data)
                    async with asyncio.timeout(max(0.01, target.end_s - time.monotonic())):
                        if reads:
                            await reader.read()
                        else:
                            await writer.wait_closed() if writer.is_closing() else None
                            await reader.read() if len(data) < MEBIBYTE else await writer.drain()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    tasks = []
    for number in range(connections):
        tasks.append(asyncio.create_task(one()))
        if number % CONNECT_PARALLEL == 0:
            await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)


def _get(path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


async def declared_bodies(target: Target) -> None:
    """1,024 bodies that are declared and never sent."""
    await _hold(
        target,
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n",
        1_024,
    )


async def chunked_bodies(target: Target) -> None:
    """520 chunked bodies that do not begin."""
    await _hold(
        target,
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        520,
    )


async def declared_posts(target: Target) -> None:
    """64 large POSTs of one app that are declared and never sent."""
    await _hold(target, target.drain_head(f"Content-Length: {MEBIBYTE}"), 64)


async def half_posts(target: Target) -> None:
    """600 POSTs of one app, of which half is sent."""
    await _hold(target, target.drain_head("Content-Length: 120000") + bytes(60_000), 600)


async def gzip_members(target: Target) -> None:
    """Bodies of 2 MiB with 100,000 empty members."""
    body = gzip.compress(b"") * (2 * MEBIBYTE // 20)
    head = target.drain_head(
        f"Content-Length: {len(body)}", "Content-Encoding: gzip", "Connection: close"
    )
    await _hold(target, head + body, 4, reads=True)


async def gzip_bombs(target: Target) -> None:
    """64 bodies that inflate to 15 MiB each."""
    body = gzip.compress(bytes(15 * MEBIBYTE))
    head = target.drain_head(
        f"Content-Length: {len(body)}", "Content-Encoding: gzip", "Connection: close"
    )
    await _hold(target, head + body, 64, reads=True)


async def pipelines(target: Target) -> None:
    """300 connections with 1,500 requests each, whose answers are read."""
    await _hold(target, _get("/healthz") * 1_500, 300, reads=True)


async def unread_pipelines(target: Target) -> None:
    """300 connections with requests for large files, whose answers nobody reads."""
    await _hold(target, _get("/static/uPlot.iife.min.js") * 1_500, 300)


async def hostile_names(target: Target) -> None:
    """30 bodies of 1 MiB whose every line names another process type."""
    now_s = time.time()
    lines: list[bytes] = []
    size = 0
    while size < MEBIBYTE:
        line = router(now_s - len(lines) % 3_000, dyno=f"t{len(lines)}.1")
        lines.append(line)
        size += len(line)
    body = b"".join(lines)
    head = target.drain_head(f"Content-Length: {len(body)}", "Connection: close")
    await _hold(target, head + body, 30, reads=True)


async def hostile_marks(target: Target) -> None:
    """30 bodies of 1 MiB with marks of custom metrics in every form, nearly all of new names."""
    now_s = time.time()
    generator = HostileMarks(1, names=100_000, sources=1_000)
    lines: list[bytes] = []
    size = 0
    while size < MEBIBYTE:
        number = len(lines)
        lines.append(
            frame(
                generator.line("web"),
                app_name="app",
                procid=f"web.{number % 100}",
                at_s=now_s - number % 3_000,
            )
        )
        size += len(lines[-1])
    body = b"".join(lines)
    head = target.drain_head(f"Content-Length: {len(body)}", "Connection: close")
    await _hold(target, head + body, 30, reads=True)


async def language_reports(target: Target) -> None:
    """Reports of language runtimes with 2,000 metrics each, all of new names."""

    async def one(first: int) -> None:
        number = first
        while target.is_on:
            number += 1
            metrics = {f"{number}.{name}": name for name in range(1_000)}
            body = json.dumps({"counters": metrics, "gauges": metrics}).encode()
            head = (
                f"POST /language/web.{first % 100} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: {target.authorization}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(head.encode() + body)
                await reader.read()
                writer.close()

    await asyncio.gather(*(one(1_000_000 * number) for number in range(30)))


async def new_names(target: Target) -> None:
    """Bodies of 1 MiB of which each names other process types, dynos and crashes than the rest."""

    async def one(first: int) -> None:
        number = first
        while target.is_on:
            now_s = time.time()
            lines = []
            size = 0
            while size < MEBIBYTE:
                number += 1
                line = _line_with_new_names(number, now_s - number % 3_000)
                lines.append(line)
                size += len(line)
                if number % 500 == 0:
                    await asyncio.sleep(0)
            head = target.drain_head(f"Content-Length: {size}", "Connection: close")
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(head + b"".join(lines))
                await reader.read()
                writer.close()

    await asyncio.gather(*(one(10_000_000 * number) for number in range(4)))


def _line_with_new_names(number: int, at_s: float) -> bytes:
    dyno = f"web.{number}"
    match number % 4:
        case 0:
            return router(at_s, dyno=f"t{number}.1")
        case 1:
            return router(at_s, head="at=error code=H12", dyno=dyno, status="503")
        case 2:
            return frame("State changed from up to crashed", procid=dyno, at_s=at_s)
        case _:
            return frame("Process exited with status 137", procid=dyno, at_s=at_s)


async def long_tokens(target: Target) -> None:
    """POSTs with a different drain token of 31 kB each."""
    line = router()

    async def one(first: int) -> None:
        number = first
        while target.is_on:
            number += 1
            token = f"{number:031000d}"
            head = target.drain_head(
                f"Content-Length: {len(line)}",
                f"Logplex-Drain-Token: {token}",
                "Connection: close",
            )
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(head + line)
                await reader.read()
                writer.close()

    await asyncio.gather(*(one(10_000_000 * number) for number in range(4)))


async def readiness(target: Target) -> None:
    """50 connections that ask for /readyz without a pause."""
    await _hold(target, _get("/readyz", "Connection: close"), 50, reads=True)


async def partial_heads(target: Target) -> None:
    """1,000 heads of 30 kB in small headers that do not end."""
    await _hold(target, _get("/healthz")[:-2] + b"X: a\r\n" * 90 + b"Y: " + b"y" * 29_000, 1_000)


async def tiny_chunks(target: Target) -> None:
    """100 bodies in chunks of one byte."""
    head = target.drain_head("Transfer-Encoding: chunked", "Connection: close")
    await _hold(target, head + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n", 100, reads=True)


async def idle_connections(target: Target) -> None:
    """5,000 connections that send nothing."""
    await _hold(target, b"", 5_000)


async def wrong_secrets(target: Target) -> None:
    """POSTs with wrong secrets, without a pause."""
    head = target._replace(authorization="Basic c2hvcDp3cm9uZw==").drain_head("Content-Length: 2")
    await _hold(target, (head + b"xx") * 8, 100, reads=True)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(declared_bodies, chunked_bodies, declared_posts, half_posts, gzip_members, gzip_bombs),
        *(pipelines, unread_pipelines, hostile_names, new_names, hostile_marks, language_reports),
        *(long_tokens, readiness),
        *(partial_heads, tiny_chunks, idle_connections, wrong_secrets),
    )
}


async def _main(names: str, port: str, authorization: str, seconds: str) -> None:
    target = Target(int(port), authorization, time.monotonic() + float(seconds))
    await asyncio.gather(*(ATTACKS[name](target) for name in names.split(",")))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
