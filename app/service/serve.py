"""`dynometer serve`: starts the store, the listening socket and the workers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.config import ConfigError, Settings, local_url, unknown_settings
from app.receivers.connection_guard import CONNECTIONS_MAX, RESERVED_FILES
from app.receivers.http_fast_path import DrainConnection
from app.receivers.tls import Certificate, uvicorn_context
from app.receivers.tls_handshake import TlsConfig
from app.storage import embedded
from app.storage.connect import CHECK_TIMEOUT_S, connect, refuse_unsupported_data
from app.storage.interface.errors import StoreUnavailable
from app.storage.redis.commands import CHECK_ADDRESS
from app.support import logging as logs
from app.support.about import command
from app.support.disk import why_ephemeral
from app.support.output import print_to_reader
from app.support.process import exit_on_signals, ignores_hangup

log = logging.getLogger(__name__)

# The event loop accepts one connection per listening descriptor in each of its turns. With a single
# one, new senders waited for seconds behind a flood of connections.
ACCEPTED_PER_TURN = 64
BACKLOG = 4_096  # a connection that finds it full is retried after a second
# Logplex closes an idle connection after 144 to 159 s. It should be the side that closes.
KEEP_ALIVE_S = 190
SHUTDOWN_S = 9
TICK_S = 1.0
DEFAULT_PORT = 8080
FILES_MAX = CONNECTIONS_MAX + RESERVED_FILES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: where to listen, and HTTPS without a proxy."""
    parser.add_argument(
        "--host", dest="HOST", metavar="ADDRESS", help="address to listen on, as HOST"
    )
    parser.add_argument("--port", dest="PORT", metavar="N", help="port to listen on, as PORT")
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="serve https: PEM file with the certificate chain"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="PEM file with its private key")


def serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code.

    Raises:
        ConfigError: a port is in use, or a setting cannot be applied.
        EmbeddedError: the embedded store could not be started.
    """
    exit_on_signals()
    logs.set_up(settings.log_format)
    _raise_file_limit()
    for sentence in unknown_settings(os.environ):
        log.warning("%s", sentence)
    if settings.spool_bytes_max:
        _prepare_spool(settings)
    if settings.redis_url.endswith("ssl_cert_reqs=none"):
        log.warning(
            "the certificate of REDIS_URL is not verified, because Heroku's are self-signed"
        )
    tls_options = _tls_options(arguments)
    for port in (settings.syslog_port, settings.syslog_tls_port):
        if port:
            _bind(settings.host, port, "DYNOMETER_SYSLOG_PORT").close()
    store_problems = asyncio.run(_check_store(settings))
    with _store(settings) as store_description, _listen_on_port(settings) as listening_sockets:
        scheme = "https" if tls_options else "http"

        def announce() -> None:
            if settings.log_format == "json":
                address = local_url(settings, scheme)
                log.info("listening on %s, store: %s", address, store_description)
            elif store_problems:
                print_to_reader(_warning(settings, store_problems, scheme))
            else:
                print_to_reader(_welcome(settings, store_description, scheme))

        config = (TlsConfig if tls_options else uvicorn.Config)(
            "app.service.asgi:create_app",
            factory=True,
            http=DrainConnection,
            ws="none",
            workers=settings.workers,
            access_log=False,
            log_config=None,
            log_level=None,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            **tls_options,
        )
        if settings.workers > 1:
            announce()
            reloads = bool(tls_options or settings.syslog_tls_port)
            _Supervisor(config, listening_sockets, reloads=reloads).run()
            return 0
        server = _Server(config, announce)
        server.run(sockets=listening_sockets)
        return 0 if server.started else 1


async def _check_store(settings: Settings) -> list[str]:
    """Why the store of REDIS_URL does not work now, with the fixes. The service starts anyway.

    Rejects data of an unsupported version here, once, instead of in each worker.
    """
    if not settings.redis_url:
        return []
    store = connect(settings.redis_url)
    try:
        await refuse_unsupported_data(store)
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await store.problems()
    except StoreUnavailable as error:
        return [str(error)]
    except TimeoutError:
        return [f"Redis did not answer within {CHECK_TIMEOUT_S:g} s. {CHECK_ADDRESS}"]
    finally:
        await store.close()


def _raise_file_limit() -> None:
    """Raise the limit of open files as far as allowed and needed: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    new_soft = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft < new_soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, hard))


class _Server(uvicorn.Server):
    """A uvicorn server that announces itself once it listens, and seldom wakes up while idle."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._exit_requested = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # while it serves

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def main_loop(self) -> None:
        """Update the Date header every second, until a signal ends the server. uvicorn wakes up ten
        times a second to look whether a signal came.
        """
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._exit_requested.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._exit_requested.set)


class _Supervisor(Multiprocess):
    """Stops listening before its workers end.

    A refused connection does not count as a delivery attempt of Logplex. A connection that is
    accepted and then closed does.
    """

    def __init__(
        self, config: uvicorn.Config, listening_sockets: list[socket.socket], *, reloads: bool
    ) -> None:
        """`reloads`: whether the workers have certificates to reload on SIGHUP."""
        self._reloads = reloads
        self._ignores_hangup = ignores_hangup()
        super().__init__(config, sockets=listening_sockets)

    def terminate_all(self) -> None:
        for listening_socket in self.sockets:
            listening_socket.close()
        super().terminate_all()

    def handle_hup(self) -> None:
        """Make the workers reload their certificates, or end when the terminal closes."""
        if not self._reloads:
            if not self._ignores_hangup:
                self.should_exit.set()
            return
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)


def _prepare_spool(settings: Settings) -> None:
    """Check at the start, not in an outage of the store, that batches can wait on this disk."""
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ConfigError(
            f"cannot write to {directory} ({error.strerror}), where batches wait while the store "
            "is unavailable. Choose another directory with DYNOMETER_DATA_DIR, or disable the "
            "spool with DYNOMETER_SPOOL_MAX_BYTES=0."
        ) from None
    reason = why_ephemeral(directory, os.environ)
    if reason:
        log.warning(
            "%s lies %s. Batches that wait there during an outage of the store are lost if the "
            "service ends before the store recovers.%s",
            directory.resolve(),
            reason,
            "" if settings.redis_url else " The embedded store keeps its data there too.",
        )


@contextmanager
def _store(settings: Settings) -> Iterator[str]:
    """Start the embedded store, unless REDIS_URL is set, and yield a description of the store.
    Workers find it in their environment.
    """
    if settings.redis_url:
        yield "the Redis of REDIS_URL"
        return
    with embedded.start(settings.data_dir, appendfsync=settings.redis_appendfsync) as store:
        os.environ["REDIS_URL"] = store.url
        yield f"{store.server.name} {store.server.version} in {settings.data_dir}"


@contextmanager
def _listen_on_port(settings: Settings) -> Iterator[list[socket.socket]]:
    """Listen with several descriptors of one socket: ACCEPTED_PER_TURN says why."""
    with ExitStack() as open_sockets:
        first = open_sockets.enter_context(_bind(settings.host, settings.port, "PORT"))
        copies = [open_sockets.enter_context(first.dup()) for _ in range(ACCEPTED_PER_TURN - 1)]
        for listening_socket in (first, *copies):
            listening_socket.set_inheritable(True)
        yield [first, *copies]


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({os.strerror(error.errno or 0)}). "
            f"Choose another port, as in {setting}={port + 1} {command()} serve"
        ) from None


def _tls_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of uvicorn for HTTPS, none for HTTP.

    Raises:
        ConfigError: the certificate is not usable. Without this check each worker would say so.
    """
    chain, key = getattr(arguments, "tls_cert", None), getattr(arguments, "tls_key", None)
    if not chain and not key:
        return {}
    if not chain or not key:
        raise ConfigError("HTTPS requires both --tls-cert FILE and --tls-key FILE")
    Certificate(Path(chain), Path(key))
    return {
        "ssl_certfile": chain,
        "ssl_keyfile": key,
        "ssl_context_factory": uvicorn_context,
    }


def _warning(settings: Settings, store_problems: list[str], scheme: str) -> str:
    """The greeting of a service that cannot use its store yet."""
    problems = "\n".join(f"  {problem}" for problem in store_problems)
    if settings.kafka:
        effect = "log lines go to Kafka"
    elif settings.spool_bytes_max:
        effect = f"log lines wait on disk in {settings.spool_dir}"
    else:
        effect = "log lines are rejected"
    return f"""Dynometer listens on {local_url(settings, scheme)}/, but its store is not ready:
{problems}

While it does not answer, {effect}, and pages and queries answer 503.
The service keeps trying. After a change of REDIS_URL, start it again.
Check everything: {command()} doctor   Stop: Ctrl-C"""


def _welcome(settings: Settings, store_description: str, scheme: str) -> str:
    url = local_url(settings, scheme)
    to_option = "" if settings.port == DEFAULT_PORT else f" --to {url}"
    query = "metric=service_time_ms&stat=p95&by=process_type"
    if settings.local_mode:
        return f"""Dynometer is up: {url}/
Store: {store_description}. No admin token is set, so only this machine can connect.

Next, in another terminal, send simulated traffic and check that all of it is counted:
  {command()} simulate --history 1h{to_option}
Or send the last lines of one of your apps:
  heroku logs -n 1500 --source heroku -a shop | {command()} replay - --app shop{to_option}
Then query them:
  curl '{url}/api/v1/apps/demo/query?{query}'

API: {url}/docs   Prometheus: {url}/metrics   Stop: Ctrl-C"""
    public_url = settings.public_url
    next_step = (
        f"  {command()} drains add APP | sh"
        if public_url
        else "  Set DYNOMETER_PUBLIC_URL to the https address at which Heroku reaches the service."
    )
    return f"""Dynometer is up: {public_url or url}/ (listening on {settings.host}:{settings.port})
Store: {store_description}. Everything except /drain and the health checks requires a token.

Next:
{next_step}"""
