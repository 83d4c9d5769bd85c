"""The syslog drain: receives log lines over TCP or TLS (RFC 5425, RFC 6587).

The sender is Logplex, or any other program that writes the same lines. The HOSTNAME of a message is
its drain token, and the only hint at the app to which it belongs: 'drains link' assigns a token to
an app. In local mode, a HOSTNAME that is not linked is the app's name itself.

Syslog has no acknowledgements. Each read is committed before the next one, so TCP slows the sender
down while no batch can be stored. On shutdown, everything that was read is committed. A batch that
the sender repeats counts again: at least once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.access.drain_registry import DrainRegistry, valid_app
from app.access.drain_secrets import DRAIN_TOKEN
from app.access.rejected_logins import RejectedLogins
from app.config import Settings
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import BatchCommitter, commit
from app.ingest.received_batch import batch_id
from app.receivers.proxy_protocol_server import ProxyProtocolServer
from app.receivers.tls import Certificate
from app.storage.interface.elements import random_bytes
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import cancel_and_wait
from parsers.framing import Damage
from parsers.syslog_header import hostname_of
from parsers.syslog_stream import MessageReader

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 1_000  # per worker
FIRST_READ_TIMEOUT_S = 30  # a sender connects because it has something to send
LAST_READ_TIMEOUT_S = 0.05  # for data that has already arrived when the service stops
# Logplex closes an idle connection after 240 to 255 s. It should be the one to close.
IDLE_TIMEOUT_S = 300
HANDSHAKE_TIMEOUT_S = 10
READ_BYTES = 256 * 1024
COALESCE_DELAY_S = 0.05  # between two reads: lines that arrive meanwhile form one batch
RETRY_INTERVAL_S = 0.5
SHUTDOWN_TIMEOUT_S = 5
BACKLOG = 512
NOT_LINKED = "drain token is linked to no app"
_HEROKU_TOKEN = re.compile(r"d\.[0-9a-f-]{36}")


class SyslogListener:
    """Listens on the ports of the settings; by default on none."""

    def __init__(
        self,
        settings: Settings,
        *,
        committer: BatchCommitter,
        drains: DrainRegistry,
        rejected_logins: RejectedLogins,
        acceptance: AcceptanceWindow,
    ) -> None:
        self._settings = settings
        self._committer = committer
        self._drains = drains
        self._rejected_logins = rejected_logins
        self._acceptance = acceptance
        self._connections: set[asyncio.Task[None]] = set()
        self._shutdown: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Accept connections; at the end, commit everything that was read from them."""
        settings = self._settings
        shutdown = self._shutdown = asyncio.get_running_loop().create_future()
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
            shutdown.set_result(None)
            if self._connections:
                await asyncio.wait(self._connections, timeout=SHUTDOWN_TIMEOUT_S)
            await cancel_and_wait(list(self._connections))  # their lines could not be stored

    async def _server(self, port: int, context: ssl.SSLContext | None) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve,
            self._settings.host,
            port,
            limit=READ_BYTES // 2,
            backlog=BACKLOG,
            reuse_port=True,  # each worker listens on its own
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if context else None,
        )

    async def _behind_proxy(self, port: int, context: ssl.SSLContext | None) -> ProxyProtocolServer:
        return ProxyProtocolServer(self._settings.host, port, self._serve, context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this runs in a task
        try:
            if len(self._connections) < CONNECTIONS_MAX:
                self._connections.add(task)
                await self._read_messages(reader)
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            log.debug("A syslog connection ended: %s", error)
        except asyncio.CancelledError:  # by `listening`; asyncio's streams would log it as an error
            log.warning("Shutting down. The last lines of a syslog sender could not be stored.")
        except Exception:  # a defect of the service, not of the sender
            log.exception("A syslog connection failed because of a defect")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read_messages(self, reader: asyncio.StreamReader) -> None:
        messages = MessageReader()
        hostname, timeout_s = "", FIRST_READ_TIMEOUT_S
        while data := await self._read(reader, timeout_s):
            timeout_s = IDLE_TIMEOUT_S
            hostname = await self._ingest(messages.feed(data), hostname)
            if len(data) < READ_BYTES // 2:
                await asyncio.sleep(COALESCE_DELAY_S)
        await self._ingest(messages.end(is_cut=not reader.at_eof()), hostname)

    async def _read(self, reader: asyncio.StreamReader, timeout_s: float) -> bytes:
        """The next bytes; b"" at the end. On shutdown, the data that has arrived, and then b"".

        Raises:
            TimeoutError: no data arrived within this time.
        """
        assert self._shutdown is not None  # noqa: S101  # set before the first connection
        is_shutdown = self._shutdown.done()
        read_task = asyncio.create_task(reader.read(READ_BYTES))
        futures: set[asyncio.Future[Any]] = (
            {read_task} if is_shutdown else {read_task, self._shutdown}
        )
        try:
            await asyncio.wait(
                futures,
                timeout=LAST_READ_TIMEOUT_S if is_shutdown else timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if read_task.done():
                return read_task.result()
        finally:
            read_task.cancel()
        if not self._shutdown.done():
            raise TimeoutError
        return b"" if is_shutdown else await self._read(reader, LAST_READ_TIMEOUT_S)

    async def _ingest(self, messages: Iterable[bytes | Damage], hostname: str) -> str:
        """Commit messages, each to the app to which its HOSTNAME is linked.

        Damage belongs to the HOSTNAME of the message before it; `hostname` is that of the message
        before these. Returns the HOSTNAME of the last message.
        """
        by_hostname: dict[str, list[bytes | Damage]] = {}
        for message in messages:
            if not isinstance(message, Damage):
                hostname = hostname_of(message).decode("latin-1") or hostname
            by_hostname.setdefault(hostname, []).append(message)
        for name, frames in by_hostname.items():
            app = await self._app_of(name)
            if app:
                await self._commit(app, name, frames)
            else:
                self._rejected_logins.add("", name, NOT_LINKED)
        return hostname

    async def _app_of(self, hostname: str) -> str:
        if not DRAIN_TOKEN.fullmatch(hostname):
            return ""
        while True:
            try:
                app = await self._drains.app_of(hostname)
            except StoreUnavailable:
                # No more is read meanwhile, so no line is lost.
                await asyncio.sleep(RETRY_INTERVAL_S)
                continue
            if app or not self._settings.local_mode:
                return app
            app = hostname.lower()
            return app if valid_app(app) else ""

    async def _commit(self, app: str, hostname: str, frames: Sequence[bytes | Damage]) -> None:
        # Only Heroku delivers the same lines over several drains; other hosts send their own lines.
        drain = hostname if _HEROKU_TOKEN.fullmatch(hostname) else ""
        key = DrainKey(app, drain, 1, self._acceptance)
        post = DrainPost(key, batch_id(b""), random_bytes(), frames)
        while True:
            try:
                await commit(self._committer, post)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return
