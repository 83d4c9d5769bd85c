"""The syslog drain: log lines over TCP or TLS (RFC 5425, RFC 6587), from Logplex or anybody who
writes the same lines.

A drain's token is the HOSTNAME of its messages, and the only thing that says whose they are:
'drains link' tells which app a token speaks for. In local mode the name itself is the app where
nothing is linked.

Syslog has no acknowledgement. What was read is committed before more is read, so a sender is held
back by TCP while nothing can take its lines; on shutdown what was read is committed. A batch that
the sender sends again counts again: at least once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.access.drain_registry import DrainRegistry, valid_app
from app.access.drain_secrets import DRAIN_TOKEN
from app.access.rejected_logins import RejectedLogins
from app.config import Settings
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.group_commit import BatchCommitter
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.receivers.proxy_protocol_server import ProxyProtocolServer
from app.receivers.tls import Certificate
from app.storage.interface import StoreUnavailable
from app.support.aio import cancel_and_wait
from parsers.framing import Damage
from parsers.syslog_header import hostname_of
from parsers.syslog_stream import MessageReader

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 1_000  # per worker
FIRST_S = 30  # until the first bytes: who connects has something to say
LAST_S = 0.05  # for what has arrived when the service stops
IDLE_S = 300  # Logplex closes an idle connection after 240 to 255 s: it should be the one to close
HANDSHAKE_S = 10
READ_BYTES = 256 * 1024
GATHER_S = 0.05  # between two reads: what comes meanwhile goes into one batch
RETRY_S = 0.5
FINISH_S = 5
BACKLOG = 512
NOT_LINKED = "drain token is linked to no app"
_HEROKU_TOKEN = re.compile(r"d\.[0-9a-f-]{36}")


class SyslogListener:
    """Listens where the settings say, nowhere by default."""

    def __init__(
        self,
        settings: Settings,
        *,
        committer: BatchCommitter,
        drains: DrainRegistry,
        rejected_logins: RejectedLogins,
        acceptance: AcceptanceWindow,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._committer = committer
        self._drains = drains
        self._rejected_logins = rejected_logins
        self._acceptance = acceptance
        self._clock = clock
        self._connections: set[asyncio.Task[None]] = set()
        self._stopped: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take connections; at the end, what was read of them is committed."""
        settings = self._settings
        stopped = self._stopped = asyncio.get_running_loop().create_future()
        ports: list[tuple[int, ssl.SSLContext | None]] = []
        if settings.syslog_port:
            ports.append((settings.syslog_port, None))
        if settings.syslog_tls_port:
            certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key))
            ports.append((settings.syslog_tls_port, certificate.context))
        serve = self._behind_proxy if settings.syslog_proxy_protocol else self._server
        servers = [await serve(*port) for port in ports]
        try:
            yield
        finally:
            for server in servers:
                server.close()
            stopped.set_result(None)
            if self._connections:
                await asyncio.wait(self._connections, timeout=FINISH_S)
            await cancel_and_wait(list(self._connections))  # nothing could take their lines

    async def _server(self, port: int, context: ssl.SSLContext | None) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve,
            self._settings.host,
            port,
            limit=READ_BYTES // 2,
            backlog=BACKLOG,
            reuse_port=True,  # each worker listens for itself
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S if context else None,
        )

    async def _behind_proxy(self, port: int, context: ssl.SSLContext | None) -> ProxyProtocolServer:
        return ProxyProtocolServer(self._settings.host, port, self._serve, context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  it is what runs this
        try:
            if len(self._connections) < CONNECTIONS_MAX:
                self._connections.add(task)
                await self._converse(reader)
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            log.debug("syslog connection ended: %s", error)
        except asyncio.CancelledError:  # by us; asyncio's streams would report it as a failure
            log.warning("the service ends, and what a syslog sender sent last is not stored")
        except Exception:  # a defect of ours must not pass for the sender's
            log.exception("syslog connection failed")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader) -> None:
        messages = MessageReader()
        last, within_s = "", FIRST_S
        while data := await self._read(reader, within_s):
            within_s = IDLE_S
            last = await self._take(messages.feed(data), last)
            if len(data) < READ_BYTES // 2:
                await asyncio.sleep(GATHER_S)
        await self._take(messages.end(), last)

    async def _read(self, reader: asyncio.StreamReader, within_s: float) -> bytes:
        """The next bytes; b"" at the end. Once we are to stop, what has arrived, and then b"".

        Raises:
            TimeoutError: nothing came within this time.
        """
        assert self._stopped is not None  # noqa: S101  nobody connects before
        stopping = self._stopped.done()
        reading = asyncio.create_task(reader.read(READ_BYTES))
        awaited: set[asyncio.Future[Any]] = {reading} if stopping else {reading, self._stopped}
        try:
            await asyncio.wait(
                awaited,
                timeout=LAST_S if stopping else within_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if reading.done():
                return reading.result()
        finally:
            reading.cancel()
        if not self._stopped.done():
            raise TimeoutError
        return b"" if stopping else await self._read(reader, LAST_S)

    async def _take(self, found: Iterable[bytes | Damage], last: str) -> str:
        """Commit messages, each to the app that its HOSTNAME speaks for; what is damaged, to that
        of the one before. Returns the HOSTNAME of the last one.
        """
        by_name: dict[str, list[bytes | Damage]] = {}
        for item in found:
            if not isinstance(item, Damage):
                last = hostname_of(item).decode("latin-1") or last
            by_name.setdefault(last, []).append(item)
        for name, frames in by_name.items():
            app = await self._app_of(name)
            if app:
                await self._commit(app, name, frames)
            else:
                self._rejected_logins.add("", name, NOT_LINKED)
        return last

    async def _app_of(self, name: str) -> str:
        if not DRAIN_TOKEN.fullmatch(name):
            return ""
        while True:
            try:
                app = await self._drains.app_of(name)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)  # nothing is read meanwhile, so nothing gets lost
                continue
            if app or not self._settings.local_mode:
                return app
            own = name.lower()
            return own if valid_app(own) else ""

    async def _commit(self, app: str, name: str, frames: Iterable[bytes | Damage]) -> None:
        aggregator = Aggregator(self._clock(), self._acceptance, self._settings.limits)
        aggregator.add_frames(frames)
        drain = name if _HEROKU_TOKEN.fullmatch(name) else ""  # other hosts send what is their own
        arrival = ReceivedBatch(app, batch_id(b""), aggregator.build_body(), drain=drain)
        while True:
            try:
                await self._committer.commit(arrival)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
            else:
                return
