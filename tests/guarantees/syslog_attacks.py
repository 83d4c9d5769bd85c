"""What anybody can do to a syslog port. Run one: python -m tests.guarantees.syslog_attacks NAME
PORT [TOKEN]. It goes on until it is killed, and opens connections again that were closed.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from tests.support.lines import counted

UNKNOWN_TOKEN = "d.00000000-0000-4000-8000-00000000000"
PAUSE_S = 0.01

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Attack = Callable[[Streams, str], Awaitable[None]]


def message(token: str, text: str = "x") -> bytes:
    return f"<158>1 2026-11-22T10:00:00Z {token} heroku router - {text}\n".encode()


async def stay(streams: Streams) -> None:
    """Return when the service closes the connection."""
    await streams[0].read()


async def send_for_ever(streams: Streams, data: bytes) -> None:
    while True:
        streams[1].write(data)
        await streams[1].drain()
        await asyncio.sleep(0)


async def one_byte(streams: Streams, _: str) -> None:
    """One byte, and then nothing."""
    streams[1].write(b"1")
    await stay(streams)


async def nothing(streams: Streams, _: str) -> None:
    """Not even a TLS handshake."""
    await stay(streams)


async def garbage_frames(streams: Streams, _: str) -> None:
    """The frames that cost most per byte, from nobody."""
    await send_for_ever(streams, b"1 a" * 5_000)


async def unlinked_lines(streams: Streams, _: str) -> None:
    """Lines of very many tokens, none of which is linked."""
    lines = [counted(message(UNKNOWN_TOKEN + hex(number)[-1])) for number in range(16)]
    await send_for_ever(streams, b"".join(lines) * 10)


async def short_headers(streams: Streams, _: str) -> None:
    """As many tokens per byte as possible."""
    await send_for_ever(streams, b"".join(b"<1>1 t %x m" % number for number in range(4_000)))


async def hurry(streams: Streams, _: str) -> None:
    """Connect and close, as often as possible."""
    streams[1].close()


async def garbage_frames_of_an_app(streams: Streams, token: str) -> None:
    """The frames that cost most per byte, from one who knows a linked token."""
    streams[1].write(counted(message(token)))
    await send_for_ever(streams, b"1 a" * 5_000)


async def small_frames_of_an_app(streams: Streams, token: str) -> None:
    """The frames that cost most memory, from one who knows a linked token."""
    streams[1].write(counted(message(token)))
    await send_for_ever(streams, b"3 ab\n" * 3_000)


async def halves(streams: Streams, token: str) -> None:
    """Half of the largest frame, from one who knows a linked token."""
    streams[1].write(counted(message(token)) + b"65536 " + message(token) + b"x" * 65_000)
    await stay(streams)


async def other_tokens_of_an_app(streams: Streams, token: str) -> None:
    """A linked token first, and then very many others."""
    streams[1].write(counted(message(token)))
    lines = b"".join(counted(b"<1>1 t h%x a p m x\n" % number) for number in range(3_000))
    await send_for_ever(streams, lines)


# With the number of connections that it keeps open.
ATTACKS: dict[str, tuple[Attack, int]] = {
    attack.__name__: (attack, connections)
    for attack, connections in (
        (one_byte, 1_500),
        (nothing, 1_500),
        (garbage_frames, 10),
        (unlinked_lines, 30),
        (short_headers, 30),
        (hurry, 10),
        (garbage_frames_of_an_app, 30),
        (small_frames_of_an_app, 300),
        (halves, 900),
        (other_tokens_of_an_app, 30),
    )
}


async def keep_up(attack: Attack, port: int, token: str, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            streams = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                await attack(streams, token)
            finally:
                streams[1].transport.abort()
        except OSError:
            await asyncio.sleep(PAUSE_S)


async def run(name: str, port: int, token: str) -> None:
    """`name`: of an attack; with "tls_" before it, over TLS."""
    context = None
    if name.startswith("tls_"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    attack, connections = ATTACKS[name.removeprefix("tls_")]
    await asyncio.gather(
        *(partial(keep_up, attack, port, token, context)() for _ in range(connections))
    )


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
