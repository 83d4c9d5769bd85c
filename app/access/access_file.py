"""The copy of who may send and read on this machine's disk. It holds only hashes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec

log = logging.getLogger(__name__)

FILE = "access.json"
LEGACY_FILE = "drains.json"  # the drains alone, for workers of earlier versions


class StoredAccess(msgspec.Struct, frozen=True):
    """Who may send and read, as a store had it while it had all its data.

    Attributes:
        store: the id of the store; "" if unknown, as in copies of earlier versions.
        address: of the store, hashed.
        drains: drain records by app.
        tokens: records of read tokens by id.
        custom: the apps for which custom metrics are on.
    """

    store: str = ""
    address: str = ""
    drains: Mapping[str, str] = {}
    tokens: Mapping[str, bytes] = {}
    custom: frozenset[str] = frozenset()


def has_copy(directory: Path) -> bool:
    """Whether there is a copy in a data directory."""
    return (directory / FILE).exists()


def read_copy(directory: Path) -> StoredAccess:
    """The copy in a data directory; an empty one if there is none, or it is damaged."""
    copy: StoredAccess | None = _read(directory / FILE, StoredAccess)
    return copy or StoredAccess(drains=_read(directory / LEGACY_FILE, dict[str, str]) or {})


def write_copy(directory: Path, copy: StoredAccess) -> None:
    """Replace the copy. Blocks; a failure is logged."""
    _write(directory / FILE, copy)
    _write(directory / LEGACY_FILE, copy.drains)


def _read(path: Path, content_type: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=content_type)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("Cannot read the copy of the drain secrets in %s: %s", path, error)
        return None


def _write(path: Path, content: object) -> None:
    """Replace a file atomically. Only our user can read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(msgspec.json.encode(content))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("Cannot save a copy of the drain secrets in %s: %s", path, error)
