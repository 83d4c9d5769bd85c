"""Fuzz targets for POST /drain: any body, gzip or not, is stored and counted in the ledger."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from app.config import Settings
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import unpack
from app.service.asgi import build_app
from app.storage.interface.elements import HEADER_BYTES
from app.storage.memory import MemoryStore
from parsers.framing import split
from tests.support.store_calls import fold, read_inbox

NOW_S = 1_795_341_630.0  # 2026-11-22T10:00:30Z
BODY_BYTES_MAX = 64 * 1024
APP = "shop"
_STEP_BYTES = 1024
_HEADERS = [
    (b"host", b"localhost"),
    (b"logplex-drain-token", APP.encode()),
    (b"content-type", b"application/logplex-1"),
]
_GZIP = (b"content-encoding", b"gzip")


class _Service:
    """A service over an in-memory store, with the event loop that it runs on."""

    def __init__(self) -> None:
        settings = {
            "DYNOMETER_BODY_BYTES_MAX": str(BODY_BYTES_MAX),
            "DYNOMETER_SPOOL_MAX_BYTES": "0",
        }
        self._runner = asyncio.Runner()
        self._store = MemoryStore(lambda: NOW_S)
        self._app = build_app(Settings.from_environ(settings), self._store, lambda: NOW_S)

    def post(self, data: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, dict[str, int]]:
        """POST a body; returns the status and the ledger of the stored lines."""
        return self._runner.run(self._post(data, [*_HEADERS, *headers]))

    async def _post(
        self, data: bytes, headers: list[tuple[bytes, bytes]]
    ) -> tuple[int, dict[str, int]]:
        answers: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(event: MutableMapping[str, Any]) -> None:
            answers.append(event)

        scope = {"type": "http", "method": "POST", "path": "/drain", "headers": headers}
        await self._app(scope, receive, send)
        return answers[0]["status"], await self._drain_inbox()

    async def _drain_inbox(self) -> dict[str, int]:
        """Empty the inbox; returns the ledger of its batches."""
        elements = await read_inbox(self._store, APP, 1_000)
        await fold(self._store, APP, elements, [])
        ledger: dict[str, int] = {}
        for element in elements:
            for _, rollup_data in unpack_batch(element[HEADER_BYTES:]):
                for name, count in unpack(rollup_data).ledger.items():
                    ledger[name] = ledger.get(name, 0) + count
        return ledger


_service = lru_cache(maxsize=1)(_Service)


def body(data: bytes) -> None:
    """An uncompressed body: 200 unless it is too large, and every message is in the ledger."""
    status, ledger = _service().post(data)
    assert status == (200 if len(data) <= BODY_BYTES_MAX else 413)
    if status == 200:
        assert ledger.get("received", 0) == sum(1 for _ in split(data))
        _check_ledger(ledger)


def gzip_body(data: bytes) -> None:
    """A body marked as gzip: only its size is a reason to reject it, damage is not."""
    status, ledger = _service().post(data, _GZIP)
    inflated_bytes, is_damaged = _inflated_size(data)
    if max(len(data), inflated_bytes) <= BODY_BYTES_MAX:
        assert status == 200
    else:  # it is unspecified how much of a damaged body is inflated before the damage is detected
        assert status == 413 or (is_damaged and len(data) <= BODY_BYTES_MAX and status == 200)
    _check_ledger(ledger)


def _inflated_size(data: bytes) -> tuple[int, bool]:
    """(inflated size of all members, whether damage ended it).

    Inputs of 2 KB inflate to at most 2 MB, so this needs no limit.
    """
    size = 0
    while data:
        inflater = zlib.decompressobj(wbits=31)
        while data and not inflater.eof:
            try:
                part = inflater.decompress(data, _STEP_BYTES)
            except zlib.error:
                return size + _STEP_BYTES, True
            size += len(part)
            data = inflater.unconsumed_tail
            if not part and not data:
                return size, False
        data = inflater.unused_data if inflater.eof else b""
    return size, False


def _check_ledger(ledger: dict[str, int]) -> None:
    outcomes = ("counted", "ignored", "too_old", "too_new")
    unparsed_count = sum(count for name, count in ledger.items() if name.startswith("unparsed:"))
    assert ledger.get("received", 0) == unparsed_count + sum(
        ledger.get(name, 0) for name in outcomes
    )
