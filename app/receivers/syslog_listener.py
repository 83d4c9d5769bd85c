"""The syslog drain: receives log lines over TCP or TLS (RFC 5425, RFC 6587).

The sender is Logplex, or any other program that writes the same lines. The HOSTNAME of a message is
its drain token, and the only hint at the app to which it belongs: 'drains link' assigns a token to
an app. In local mode, a HOSTNAME that is not linked is the app's name itself.

A message counts only if its HOSTNAME is known; a connection that brings no such message is closed
before anything else is done with it (app.receivers.syslog_connection).

Syslog has no acknowledgements. Each read is committed before the next one, so TCP slows the sender
down while no batch can be stored. On shutdown, everything that was read is committed. A batch that
the sender repeats counts again: at least once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from app.access.drain_registry import DrainRegistry, valid_app
from app.access.drain_secrets import DRAIN_TOKEN
from app.access.rejected_logins import RejectedLogins
from app.config import Settings
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import BatchCommitter, submit
from app.ingest.received_batch import batch_id
from app.receivers.connection_guard import peer_of
from app.receivers.syslog_connection import Messages, SyslogConnection
from app.receivers.syslog_guard import Reading, SyslogGuard, SyslogLimits
from app.receivers.tls import Certificate
from app.storage.interface.elements import random_bytes
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import cancel_and_wait
from app.support.rejections import Rejections
from parsers.framing import Damage
from parsers.syslog_header import hostname_of

log = logging.getLogger(__name__)

ACCEPTED_PER_TURN = 64  # of the event loop; new senders would wait behind a flood of connections
HANDSHAKE_INTERVAL_S = 0.002  # between two TLS connections; a handshake takes a millisecond
RETRY_INTERVAL_S = 0.5
SHUTDOWN_TIMEOUT_S = 5
BACKLOG = 2_048
POST_FRAMES_MAX = 1_000  # aggregated in one go: at most a few milliseconds
NOT_LINKED = "drain token is linked to no app"

Sleep = Callable[[float], Awaitable[None]]

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
        reads_marks: Callable[[str], bool],
        rejections: Rejections,
        limits: SyslogLimits,
    ) -> None:
        self._settings = settings
        self._guard = SyslogGuard(limits, rejections)
        self._committer = committer
        self._drains = drains
        self._rejected_logins = rejected_logins
        self._acceptance = acceptance
        self._reads_marks = reads_marks
        self._connections: dict[asyncio.Task[None], SyslogConnection] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Accept connections; at the end, commit everything that was read from them."""
        settings = self._settings
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ports: list[tuple[int, ssl.SSLContext | None]] = []
        if settings.syslog_port:
            ports.append((settings.syslog_port, None))
        if settings.syslog_tls_port:
            certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key))
            ports.append((settings.syslog_tls_port, certificate.context))
        listeners = [(_listen(settings.host, port), context) for port, context in ports]
        accepting = [
            asyncio.create_task(self._accept(*listener), name="accept syslog")
            for listener in listeners
        ]
        try:
            yield
        finally:
            await cancel_and_wait(accepting)
            for listener, _ in listeners:
                listener.close()
            self._stop.set_result(None)
            for connection in self._connections.values():
                connection.end_opening()
            if self._connections:
                await asyncio.wait(self._connections, timeout=SHUTDOWN_TIMEOUT_S)
            await cancel_and_wait(list(self._connections))  # their lines could not be stored

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._start(*await loop.sock_accept(listener), context)
                for _ in range(0 if context else ACCEPTED_PER_TURN - 1):
                    self._start(*listener.accept(), context)
            except BlockingIOError:
                pass  # no more of them wait
            except OSError as error:  # such as too many open files, which passes
                log.debug("Cannot accept a syslog connection: %s", error)
                self._guard.rejections.add("syslog_connections")
                await asyncio.sleep(RETRY_INTERVAL_S)
            except Exception:
                log.exception("Accepting a syslog connection failed because of a defect")
            await asyncio.sleep(HANDSHAKE_INTERVAL_S if context else 0)

    def _start(
        self, accepted: socket.socket, address: tuple[Any, ...], context: ssl.SSLContext | None
    ) -> None:
        accepted.setblocking(False)
        connection = SyslogConnection(self, self._guard, self._stop, peer_of(str(address[0])))
        is_proxied = self._settings.syslog_proxy_protocol
        task = connection.start(accepted, context, is_proxied=is_proxied)
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    # --- called by SyslogConnection ---------------------------------------------------------------

    async def app_of(self, hostname: str, sleep: Sleep = asyncio.sleep) -> str:
        """The app to which a HOSTNAME belongs; "" for none. Sleeps while that cannot be known."""
        if not DRAIN_TOKEN.fullmatch(hostname):
            return ""
        while True:
            try:
                app = await self._drains.app_of(hostname)
            except StoreUnavailable:
                # No more is read meanwhile, so no line is lost.
                await sleep(RETRY_INTERVAL_S)
                continue
            if app or not self._settings.local_mode:
                return app
            app = hostname.lower()
            return app if valid_app(app) else ""

    def reject(self, hostname: str) -> None:
        """Record a HOSTNAME that belongs to no app."""
        self._rejected_logins.add("", hostname, NOT_LINKED)

    async def ingest(self, messages: Messages, hostname: str, reading: Reading) -> str:
        """Commit messages, each to the app to which its HOSTNAME is linked.

        Damage belongs to the HOSTNAME of the message before it; `hostname` is that of the message
        before these. `reading`: in whose turns to do it. Returns the HOSTNAME of the last message.
        """
        by_hostname: dict[str, Messages] = {}
        for part in _parts(messages):
            hostname = await reading.turn(partial(_divide, part, hostname, by_hostname))
        for name, frames in by_hostname.items():
            app = await self.app_of(name, reading.sleep)
            if app:
                await self._commit(app, name, frames, reading)
            else:
                await reading.turn(partial(self.reject, name))
        return hostname

    async def _commit(self, app: str, hostname: str, frames: Messages, reading: Reading) -> None:
        """Commit messages of one HOSTNAME, in POSTs that are aggregated in turns."""
        # Only Heroku delivers the same lines over several drains; other hosts send their own lines.
        drain = hostname if _HEROKU_TOKEN.fullmatch(hostname) else ""
        key = DrainKey(app, drain, 1, self._acceptance, self._reads_marks(app))
        posts = [DrainPost(key, batch_id(b""), random_bytes(), part) for part in _parts(frames)]
        while True:
            results = [await reading.turn(partial(submit, self._committer, post)) for post in posts]
            outcomes = await asyncio.gather(*results, return_exceptions=True)
            posts = [
                post for post, outcome in zip(posts, outcomes, strict=True) if not _is_safe(outcome)
            ]
            if not posts:
                return
            await asyncio.sleep(RETRY_INTERVAL_S)


def _parts(messages: Messages) -> list[Messages]:
    """Messages in parts that are processed in one go."""
    return [
        messages[begin : begin + POST_FRAMES_MAX]
        for begin in range(0, len(messages), POST_FRAMES_MAX)
    ]


def _divide(messages: Messages, hostname: str, by_hostname: dict[str, Messages]) -> str:
    """Add each message to those of its HOSTNAME; returns the last HOSTNAME."""
    for message in messages:
        if not isinstance(message, Damage):
            hostname = hostname_of(message).decode("latin-1") or hostname
        by_hostname.setdefault(hostname, []).append(message)
    return hostname


def _is_safe(outcome: bool | BaseException) -> bool:
    """Whether a POST is durable; False if it has to be repeated. Raises any other error."""
    if isinstance(outcome, StoreUnavailable):
        return False
    if isinstance(outcome, BaseException):
        raise outcome
    return True


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; each worker has its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True)
    listener.setblocking(False)
    return listener
