"""Who has not delivered a known token gets little, and never at the expense of those who have."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from app.config import Settings
from app.receivers.syslog_guard import SyslogLimits
from app.service.wiring import Service, build_service, build_syslog_listener
from app.storage.memory import MemoryStore
from tests.support.certificates import certificate
from tests.support.lines import counted
from tests.support.processes import free_port
from tests.support.service import Clock

TOKEN = "d.475fd4b7-03da-4e45-8c89-5d8ac5fff61d"
UNKNOWN = "d.975fd4b7-03da-4e45-8c89-5d8ac5fff61d"
SMALL = SyslogLimits(
    connections_max=8,  # 2 of strangers, 6 of senders
    opening_timeout_s=0.2,
    first_token_timeout_s=0.2,
    unknown_bytes_max=4_096,
    buffered_bytes_max=100_000,
)
PATIENT = SMALL._replace(opening_timeout_s=60, first_token_timeout_s=60)
ENDED_WITHIN_S = 20.0


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ends(self) -> bool:
        """Wait until the service closes the connection."""
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    @property
    def is_open(self) -> bool:
        return not self.reader.at_eof()


class Port:
    """A syslog port, and connections to it."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.number = port
        self._connections: list[Connection] = []

    async def connect(self, data: bytes = b"", context: ssl.SSLContext | None = None) -> Connection:
        connection = Connection(
            *await asyncio.open_connection("127.0.0.1", self.number, ssl=context)
        )
        self._connections.append(connection)
        connection.writer.write(data)
        await connection.writer.drain()
        return connection

    async def close(self) -> None:
        for connection in self._connections:
            connection.writer.transport.abort()

    def rejected(self, reason: str) -> int:
        return self.service.rejections.counts[reason]

    async def until_rejected(self, reason: str, count: int) -> None:
        async with asyncio.timeout(ENDED_WITHIN_S):
            while self.rejected(reason) < count:
                await asyncio.sleep(0.01)

    async def until_apps(self, *apps: str) -> None:
        """Wait until lines of these apps, and of no others, are in the store."""
        async with asyncio.timeout(ENDED_WITHIN_S):
            while {seen.app for seen in await self.service.store.seen_apps()} != set(apps):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    directory: Path, limits: SyslogLimits, setting: str = "DYNOMETER_SYSLOG_PORT", **environ: str
) -> AsyncIterator[Port]:
    clock = Clock()
    port = free_port()
    environ |= {
        "DYNOMETER_DATA_DIR": str(directory),
        "DYNOMETER_ADMIN_TOKEN": "a-token-of-the-admin",
        setting: str(port),
    }
    settings = Settings.from_environ(environ)
    service = build_service(settings, MemoryStore(clock), clock)
    await service.drain_admin.link("shop", TOKEN)
    listener = build_syslog_listener(service, settings, limits)
    connections = Port(service, port)
    async with listener.listening():
        try:
            yield connections
        finally:
            await connections.close()


def line(token: str = TOKEN) -> bytes:
    return counted(f"<158>1 2026-11-22T10:00:29Z {token} app web.1 - x\n".encode())


async def test_a_connection_without_a_known_token_is_closed_in_time(tmp_path: Path) -> None:
    async with listening(tmp_path, SMALL) as port:
        assert await (await port.connect()).ends()
        assert await (await port.connect(b"1")).ends()
        assert await (await port.connect(line(UNKNOWN))).ends()
        assert port.rejected("syslog_messages") == 3


async def test_a_flood_of_connections_is_accepted_in_few_turns_of_the_loop(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, PATIENT) as port:
        flood = [socket.create_connection(("127.0.0.1", port.number)) for _ in range(200)]
        turns = 0
        async with asyncio.timeout(ENDED_WITHIN_S):
            while port.rejected("syslog_connections") < 198:  # 2 strangers may stay
                await asyncio.sleep(0)
                turns += 1
        assert turns < 100
        for connection in flood:
            connection.close()


async def test_a_known_token_keeps_a_connection_open(tmp_path: Path) -> None:
    async with listening(tmp_path, SMALL) as port:
        sender = await port.connect(line(UNKNOWN) + line())
        await port.until_apps("shop")
        assert await (await port.connect()).ends()
        assert sender.is_open


async def test_bytes_without_a_known_token_are_bounded(tmp_path: Path) -> None:
    async with listening(tmp_path, PATIENT) as port:
        assert await (await port.connect(b"1 a" * 2_000)).ends()
        assert port.rejected("syslog_messages") == 1


async def test_a_token_that_arrives_in_pieces_is_recognized(tmp_path: Path) -> None:
    async with listening(tmp_path, PATIENT) as port:
        sender = await port.connect(line()[:30])
        sender.writer.write(line()[30:])
        await port.until_apps("shop")


async def test_strangers_close_each_other_and_no_sender(tmp_path: Path) -> None:
    async with listening(tmp_path, PATIENT) as port:
        sender = await port.connect(line())
        await port.until_apps("shop")
        strangers = [await port.connect(b"1") for _ in range(4)]
        assert await strangers[0].ends()
        assert await strangers[1].ends()
        assert strangers[2].is_open
        assert strangers[3].is_open
        assert sender.is_open
        assert port.rejected("syslog_connections") == 2


async def test_tls_connections_count_before_their_handshake_which_has_a_deadline(
    tmp_path: Path,
) -> None:
    chain, key = certificate(tmp_path, "127.0.0.1")
    environ = {"DYNOMETER_TLS_CERT": str(chain), "DYNOMETER_TLS_KEY": str(key)}
    async with listening(tmp_path, PATIENT, "DYNOMETER_SYSLOG_TLS_PORT", **environ) as port:
        silent = [await port.connect() for _ in range(3)]
        assert await silent[0].ends()
        assert port.rejected("syslog_connections") == 1
        sender = await port.connect(line(), ssl.create_default_context(cafile=str(chain)))
        await port.until_apps("shop")
        assert sender.is_open
    async with listening(tmp_path, SMALL, "DYNOMETER_SYSLOG_TLS_PORT", **environ) as port:
        assert await (await port.connect(b"\x16\x03\x01")).ends()
        assert port.rejected("handshakes") == 1


async def test_incomplete_messages_are_bounded_for_all_connections_together(
    tmp_path: Path,
) -> None:
    limits = PATIENT._replace(connections_max=16)  # 4 of strangers, which all of them are at first
    async with listening(tmp_path, limits) as port:
        half = line() + b"65536 " + b"x" * 40_000
        senders = [await port.connect(half) for _ in range(3)]
        await port.until_rejected("buffers", 1)  # of one of them, whichever was read first
        ends = [asyncio.create_task(sender.ends()) for sender in senders]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await port.until_apps("shop")
        assert sum(sender.is_open for sender in senders) == 2
        assert port.rejected("buffers") == 1
        for end in ends:
            end.cancel()


async def test_behind_a_proxy_the_client_with_the_most_connections_loses(tmp_path: Path) -> None:
    def proxied(host: str) -> bytes:
        return b"PROXY TCP4 %b 192.0.2.8 1 2\r\n" % host.encode()

    limits = PATIENT._replace(connections_max=16)  # 4 of strangers
    async with listening(tmp_path, limits, DYNOMETER_SYSLOG_PROXY_PROTOCOL="1") as port:
        sender = await port.connect(proxied("192.0.2.1"))
        for _ in range(6):
            await port.connect(proxied("192.0.2.7") + b"1")
        await port.until_rejected("syslog_connections", 3)
        sender.writer.write(line())
        await port.until_apps("shop")


async def test_a_proxy_header_has_a_deadline(tmp_path: Path) -> None:
    async with listening(tmp_path, SMALL, DYNOMETER_SYSLOG_PROXY_PROTOCOL="1") as port:
        assert await (await port.connect(b"PROXY TCP4 192.0")).ends()
        assert port.rejected("handshakes") == 1
