"""POST /drain takes any body, gzip or not: 200, and every message in one place of the ledger."""

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
from app.storage.interface import HEADER_BYTES
from app.storage.memory import MemoryStore
from parsers.framing import split

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
    """A service over a store in memory, and the event loop that it runs on."""

    def __init__(self) -> None:
        settings = {
            "DYNOMETER_BODY_BYTES_MAX": str(BODY_BYTES_MAX),
            "DYNOMETER_SPOOL_MAX_BYTES": "0",
        }
        self._runner = asyncio.Runner()
        self._store = MemoryStore(lambda: NOW_S)
        self._app = build_app(Settings.from_environ(settings), self._store, lambda: NOW_S)

    def post(self, data: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, dict[str, int]]:
        """POST a body; returns the status, and the ledger of what was stored."""
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
        return answers[0]["status"], await self._taken()

    async def _taken(self) -> dict[str, int]:
        """The ledger of what lies in the inbox, which is empty then."""
        elements = await self._store.read_inbox(APP, 1_000)
        await self._store.fold(APP, elements, [])
        ledger: dict[str, int] = {}
        for element in elements:
            for _, packed in unpack_batch(element[HEADER_BYTES:]):
                for name, count in unpack(packed).ledger.items():
                    ledger[name] = ledger.get(name, 0) + count
        return ledger


_service = lru_cache(maxsize=1)(_Service)


def body(data: bytes) -> None:
    """A plain body."""
    status, ledger = _service().post(data)
    assert status == (200 if len(data) <= BODY_BYTES_MAX else 413)
    if status == 200:
        assert ledger.get("received", 0) == sum(1 for _ in split(data))
        _check_books(ledger)


def gzip_body(data: bytes) -> None:
    """A body that says it is gzip: damage is no reason to refuse it, only its size is."""
    status, ledger = _service().post(data, _GZIP)
    before_damage, damaged = _inflated_size(data)
    if max(len(data), before_damage) <= BODY_BYTES_MAX:
        assert status == 200
    else:  # how much of a damaged body is seen before the damage is, is nobody's concern
        assert status == 413 or (damaged and len(data) <= BODY_BYTES_MAX and status == 200)
    _check_books(ledger)


def _inflated_size(data: bytes) -> tuple[int, bool]:
    """(how much comes out of all members together; whether damage ended it). 2 KB become 2 MB at
    most.
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


def _check_books(ledger: dict[str, int]) -> None:
    placed = ("counted", "ignored", "too_old", "too_new")
    unparsed = sum(count for name, count in ledger.items() if name.startswith("unparsed:"))
    assert ledger.get("received", 0) == unparsed + sum(ledger.get(name, 0) for name in placed)
