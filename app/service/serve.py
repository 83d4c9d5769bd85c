"""`dynometer serve`: the store, the listening socket, the workers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.config import ConfigError, Settings, unknown_settings
from app.receivers.http_protocol import CONNECTIONS_MAX, FILES_OF_OUR_OWN, LimitedHttpProtocol
from app.receivers.tls import Certificate, uvicorn_context
from app.storage import embedded
from app.storage.connect import connect, refuse_unsupported_data
from app.support import logging as logs
from app.support.about import command
from app.support.process import why_ephemeral

log = logging.getLogger(__name__)

BACKLOG = 2_048
KEEP_ALIVE_S = (
    190  # Logplex closes an idle connection after 144 to 159 s: it should be the one to close
)
SHUTDOWN_S = 9
DEFAULT_PORT = 8080
FILES_WANTED = CONNECTIONS_MAX + FILES_OF_OUR_OWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """HTTPS without a proxy."""
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="serve https: PEM file with the certificate chain"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="PEM file with its private key")


def serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: the port is taken.
        EmbeddedError: no store could be started.
    """
    signal.signal(signal.SIGTERM, _exit)
    logs.set_up(settings.log_format)
    _raise_file_limit()
    for sentence in unknown_settings(os.environ):
        log.warning("%s", sentence)
    if settings.spool_bytes_max:
        _prepare_spool(settings)
    if settings.redis_url.endswith("ssl_cert_reqs=none"):
        log.warning("the certificate of REDIS_URL is not checked: Heroku's are of its own making")
    https = _https(arguments)
    for port in (settings.syslog_port, settings.syslog_tls_port):
        if port:
            _listening(settings.host, port, "DYNOMETER_SYSLOG_PORT").close()
    asyncio.run(_check_store(settings))
    with _store(settings) as described, _listen(settings) as listening:
        scheme = "https" if https else "http"

        def greet() -> None:
            if settings.log_format == "json":
                log.info("up at %s, store: %s", _address(settings, scheme), described)
            else:
                print(_welcome(settings, described, scheme), flush=True)

        config = uvicorn.Config(
            "app.service.asgi:create_app",
            factory=True,
            http=LimitedHttpProtocol,
            ws="none",
            workers=settings.workers,
            access_log=False,
            log_config=None,
            log_level=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            **https,
        )
        if settings.workers > 1:
            greet()
            _Supervisor(config, sockets=[listening]).run()
            return 0
        server = _Server(config, greet)
        server.run(sockets=[listening])
        return 0 if server.started else 1


async def _check_store(settings: Settings) -> None:
    """Refuse now, in one sentence, what each worker would refuse."""
    if settings.redis_url:
        store = connect(settings.redis_url)
        try:
            await refuse_unsupported_data(store)
        finally:
            await store.close()


def _raise_file_limit() -> None:
    """As many open files as the system lets us have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Says that it is up once it is."""

    def __init__(self, config: uvicorn.Config, greet: Callable[[], None]) -> None:
        super().__init__(config)
        self._greet = greet

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, and then greet."""
        await super().startup(sockets)
        if self.started:
            self._greet()


class _Supervisor(Multiprocess):
    """Stops listening before its workers end: Logplex loses no try on a connection refused, but one
    on a connection that is taken and then closed.
    """

    def terminate_all(self) -> None:
        """As uvicorn does, with the socket closed here too."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def handle_hup(self) -> None:
        """Have the workers read their certificates again, instead of starting them anew."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _prepare_spool(settings: Settings) -> None:
    """Find out now, not when the store is away, whether batches can wait on this disk."""
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ConfigError(
            f"cannot write to {directory} ({error.strerror}), where batches wait while the store "
            "is away: choose another directory with DYNOMETER_DATA_DIR, or do without with "
            "DYNOMETER_SPOOL_MAX_BYTES=0"
        ) from None
    reason = why_ephemeral(directory, os.environ)
    if reason:
        log.warning(
            "%s lies %s. What waits there while the store is away is lost should this end before "
            "the store is back.%s",
            directory.resolve(),
            reason,
            "" if settings.redis_url else " The embedded store keeps its data there too.",
        )


@contextmanager
def _store(settings: Settings) -> Iterator[str]:
    """Start the embedded store unless REDIS_URL names one; workers find it in their environment."""
    if settings.redis_url:
        yield "the Redis of REDIS_URL"
        return
    with embedded.start(settings.data_dir, appendfsync=settings.redis_appendfsync) as store:
        os.environ["REDIS_URL"] = store.url
        yield f"{store.server.name} {store.server.version} in {settings.data_dir}"


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    listening = _listening(settings.host, settings.port, "PORT")
    listening.set_inheritable(True)
    with listening:
        yield listening


def _listening(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({os.strerror(error.errno or 0)}): "
            f"choose another port, as in {setting}={port + 1} {command()} serve"
        ) from None


def _https(arguments: argparse.Namespace) -> dict[str, Any]:
    """What uvicorn needs for it; nothing for http. A certificate that cannot be used is told now,
    not by each worker.
    """
    chain, key = getattr(arguments, "tls_cert", None), getattr(arguments, "tls_key", None)
    if not chain and not key:
        return {}
    if not chain or not key:
        raise ConfigError("https needs both: --tls-cert FILE --tls-key FILE")
    Certificate(Path(chain), Path(key))
    return {
        "ssl_certfile": chain,
        "ssl_keyfile": key,
        "ssl_context_factory": uvicorn_context,
    }


def _address(settings: Settings, scheme: str) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{settings.port}"


def _welcome(settings: Settings, store: str, scheme: str) -> str:
    url = _address(settings, scheme)
    to = "" if settings.port == DEFAULT_PORT else f" --to {url}"
    query = "metric=service_time_ms&stat=p95&by=process_type"
    if settings.local_mode:
        return f"""Dynometer is up: {url}/
Store: {store}. No admin token is set, so only this machine may connect.

Next, in another terminal, believable traffic, checked against the answers:
  {command()} simulate --history 1h{to}
or the last lines of an app of yours:
  heroku logs -n 1500 --source heroku -a shop | {command()} replay - --app shop{to}
and then:
  curl '{url}/api/v1/apps/shop/query?{query}'

API: {url}/docs   Prometheus: {url}/metrics   Stop: Ctrl-C"""
    public = settings.public_url
    reach = (
        f"  {command()} drains add APP | sh"
        if public
        else "  set DYNOMETER_PUBLIC_URL to the https address at which Heroku reaches the service"
    )
    return f"""Dynometer is up: {public or url}/ (listening on {settings.host}:{settings.port})
Store: {store}. All but /drain and the health checks needs the admin token.

Next:
{reach}"""
