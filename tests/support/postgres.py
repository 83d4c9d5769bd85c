"""PostgreSQL servers for tests: each on a unix socket in a directory of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from app.archive.init import initialize
from tests.support.servers import wait_until

PROGRAMS = Path(os.environ.get("POSTGRES_PROGRAMS", "/usr/lib/postgresql")).resolve()
OWNER = "dynometer"
TEMPLATE = "initialized"
SHARED_MEMORY = Path("/dev/shm")  # databases are hundreds of small files: several times as fast
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
START_WITHIN_S = 20.0
# Speed, not durability: a test that kills the server kills the process, not the machine.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "Asia/Kolkata",  # half an hour off, so that no day and no week is that of UTC
    "shared_buffers": "32MB",
    "max_connections": "40",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
}


class PostgresServer:
    """A server that keeps its data over a restart."""

    def __init__(self, directory: Path, *initdb_options: str) -> None:
        self.directory = directory
        self._data = directory / "data"
        if os.geteuid() == 0:
            os.chown(directory, *_unprivileged_ids())
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
                  f"--username={OWNER}", *initdb_options)  # fmt: skip

    def start(self, file_blocks_max: str = "unlimited") -> None:
        """Start. `file_blocks_max`: the size of a file, in 512 bytes, at which writing fails."""
        arguments = [word for name in OPTIONS for word in ("-c", f"{name}={OPTIONS[name]}")]
        limited = ("sh", "-c", f'ulimit -f {file_blocks_max}; exec "$@"', "sh")
        with (self.directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *limited,
                    find_program("postgres"),
                    "-D",
                    self._data,
                    "-k",
                    self.directory,
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                **_as_unprivileged(),
            )
        wait_until(self._responds, START_WITHIN_S)

    def url(self, database: str = "postgres", role: str = OWNER) -> str:
        """The URL of a database."""
        return f"postgresql://{role}@/{database}?host={self.directory}"

    def stop(self) -> None:
        """End all sessions and stop."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def kill(self) -> None:
        """Stop as in a crash: no session is told, nothing is written back."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner; returns its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template0") -> str:
        """Create a database; returns its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _responds(self) -> bool:
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [find_program(program), "-D", self._data, *arguments],
            check=True,
            capture_output=True,
            cwd=self.directory,
            **_as_unprivileged(),
        )


def find_program(name: str) -> Path:
    """The program of the newest installed major version."""
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    assert found or shutil.which(name), "PostgreSQL is not installed: apt-get install postgresql"
    return found[-1] if found else Path(str(shutil.which(name)))


def _unprivileged_ids() -> tuple[int, int]:
    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _as_unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user, group = _unprivileged_ids()
    return {"user": user, "group": group, "extra_groups": []}


@contextmanager
def own_postgres(*initdb_options: str) -> Iterator[PostgresServer]:
    """A server that a test may break."""
    in_memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dynometer-", dir=in_memory) as directory:
        server = PostgresServer(Path(directory), *initdb_options)
        server.start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server with a template database that `dynometer archive init` made."""
    with own_postgres() as server:
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(initialize(server.url(TEMPLATE)))
        yield server
