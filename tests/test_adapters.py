"""Libraries whose undocumented parts we use are bounded, and their code is the one we know.

If a test here fails, a library changed code that an adapter of ours builds on. Its message says
what to compare. Then enter the new digest, and raise the upper bound in pyproject.toml.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from pydantic_settings import EnvSettingsSource
from redis.asyncio.connection import (
    AbstractConnection,
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
)
from redis.asyncio.sentinel import SentinelConnectionPool
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

ROOT = Path(__file__).parents[1]


class Dependence(NamedTuple):
    """Code of a library that a file of ours builds on, with the digest of its source."""

    file: str
    library: str
    part: Any
    digest: str

    @property
    def name(self) -> str:
        return str(self.part.__qualname__)


HTTP = "app/receivers/http_protocol.py"
SERVE = "app/service/serve.py"
PIPELINE = "app/storage/redis/pipelined_connection.py"
SENTINEL = "app/storage/redis/sentinel.py"
DEPENDENCES = (
    Dependence(HTTP, "uvicorn", HttpToolsProtocol, "18fdf324b11b"),
    Dependence(HTTP, "uvicorn", FlowControl, "126debcdaa89"),
    Dependence(SERVE, "uvicorn", uvicorn.Server.startup, "2aa1d70a244b"),
    Dependence(SERVE, "uvicorn", Multiprocess, "ea4650ac0ee7"),
    Dependence(PIPELINE, "redis", AbstractConnection.connect_check_health, "5cfa2c49e83e"),
    Dependence(PIPELINE, "redis", AbstractConnection.disconnect, "11194f01c2f6"),
    Dependence(PIPELINE, "redis", Connection._connect, "24cd655d5f27"),
    Dependence(PIPELINE, "redis", ConnectionPool.ensure_connection, "d144a7b72ed3"),
    Dependence(PIPELINE, "redis", ConnectionPool.release, "e7d317be9fa6"),
    Dependence(SENTINEL, "redis", SentinelConnectionPool, "9903cab34dfa"),
    Dependence(SENTINEL, "redis", BlockingConnectionPool, "6870b4d5d802"),
    Dependence("app/config.py", "pydantic-settings", EnvSettingsSource.__init__, "211f8af90211"),
)


@pytest.mark.parametrize("dependence", DEPENDENCES, ids=lambda row: row.name)
def test_the_code_that_an_adapter_builds_on_is_the_one_we_know(dependence: Dependence) -> None:
    digest = sha256(inspect.getsource(dependence.part).encode()).hexdigest()[:12]
    assert digest == dependence.digest, (
        f"{dependence.library} {version(dependence.library)} changed {dependence.name}. Compare "
        f"{dependence.file} with its new code, run the tests of that file, then enter {digest} in "
        f"{Path(__file__).name} and raise the upper bound in pyproject.toml if it is reached."
    )


@pytest.mark.parametrize("library", sorted({row.library for row in DEPENDENCES}))
def test_a_library_with_adapters_has_an_upper_bound(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = [
        text for text in project["dependencies"] if re.match(rf"{library}\b(?!-)", text)
    ]
    assert "<" in requirement, (
        f"{requirement}: add the upper bound below which the adapters in {Path(__file__).name} "
        "were compared with the library"
    )
