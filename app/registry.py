"""Who may send, and whom we have heard from."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from app.arrival import Arrival
from app.drains import SECRETS_MAX, Secret, decode, hash_secret
from app.ingest import Seen
from app.store.port import SeenApp, Store, StoreUnavailable

log = logging.getLogger(__name__)

APP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
APP_NAME_RULE = "lower-case letters, digits, dots, dashes and underscores, 63 at most"

REFRESH_S = 4  # a secret that is added or removed takes effect within 5 s on every worker
ASK_AGAIN_S = 1  # somebody unknown makes us look at most so often
SIGHTING_STEP_S = 5  # last_seen may lag by this much


def valid_app(name: str) -> bool:
    """Whether this can be an app's name: APP_NAME_RULE, beginning with a letter or digit."""
    return APP_NAME.fullmatch(name) is not None


_NOBODYS_HASH = hash_secret("")


class Drains:
    """Who may send: the registered drain secrets, as this worker last read them.

    While the store is away the last copy goes on; it is also kept on disk, hashes only, for a
    worker that starts meanwhile. Nobody is turned away by a copy that may be out of date.
    """

    def __init__(self, store: Store, clock: Callable[[], float], copy: Path | None = None) -> None:
        """`copy`: the file to keep a copy in."""
        self._store = store
        self._clock = clock
        self._copy = copy
        self._records = _read_copy(copy)
        self._read_s = 0.0  # when the store was read last
        self._asked_s = 0.0
        self._away: StoreUnavailable | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def verify(self, app: str, secret: str) -> int:
        """The generation of the app's secret that this is; 0 when it is none. An unknown app and a
        wrong secret cost the same time.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        if self._age_s >= REFRESH_S and not self._away:
            await self._refresh()
        generation = self._judge(app, secret)
        if generation:
            if self._age_s > REFRESH_S / 2 and self._clock() - self._asked_s > ASK_AGAIN_S:
                self._refresh_soon()
            return generation
        if self._age_s > ASK_AGAIN_S:  # it may just have been added
            await self._refresh()
            generation = self._judge(app, secret)
        if not generation and self._away:
            raise self._away
        return generation

    @property
    def _age_s(self) -> float:
        return self._clock() - self._read_s

    def _judge(self, app: str, secret: str) -> int:
        given = hash_secret(secret)
        now_s = self._clock()
        found = 0
        known = self._records.get(app, ())
        for number in range(SECRETS_MAX):
            if number < len(known):
                each = known[number]
                if hmac.compare_digest(given, each.hash) and not 0 < each.until_s <= now_s:
                    found = each.generation
            else:
                hmac.compare_digest(given, _NOBODYS_HASH)
        return found

    def _refresh_soon(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            self._asked_s = self._clock()
            self._refreshing = asyncio.create_task(self._read(), name="read drains")
        return self._refreshing

    async def _refresh(self) -> None:
        await asyncio.shield(self._refresh_soon())

    async def _read(self) -> None:
        try:
            texts = await self._store.drains()
        except StoreUnavailable as error:
            self._away = error
            return
        self._away = None
        self._read_s = self._clock()
        records = {app: decode(text).secrets for app, text in texts.items()}
        if records != self._records:
            self._records = records
            if self._copy is not None:
                await asyncio.to_thread(_write_copy, self._copy, texts)


def _read_copy(path: Path | None) -> dict[str, list[Secret]]:
    if path is None:
        return {}
    try:
        texts = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        return {app: decode(text).secrets for app, text in texts.items()}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("the copy of the drain secrets in %s cannot be read: %s", path, error)
        return {}


def _write_copy(path: Path, texts: dict[str, str]) -> None:
    """Replace the copy, whole or not at all; readable by us alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(msgspec.json.encode(texts))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("no copy of the drain secrets could be kept in %s: %s", path, error)


class Sightings:
    """Tells the store when apps were seen: at once when it is news, otherwise every few seconds."""

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        """`ttl_s`: how long after the last sighting of any app the list is kept."""
        self._store = store
        self._ttl_ms = ttl_s * 1000
        self._told: dict[str, Seen] = {}

    async def note(self, arrival: Arrival) -> None:
        """Record what a stored arrival says about when its app lived. Should the store just be
        away, the next arrival makes up for it.
        """
        try:
            await self._note(arrival.app, arrival.parts.seen)
        except StoreUnavailable as error:
            log.warning("could not record that %s was seen: %s", arrival.app, error)

    async def _note(self, app: str, seen: Seen) -> None:
        told = self._told.get(app)
        if told is not None:
            seen = Seen(
                min(seen.first_s, told.first_s),
                max(seen.last_s, told.last_s),
                max(seen.runtime_metrics_s, told.runtime_metrics_s),
            )
            if not _is_news(seen, told):
                return
        await self._store.see([SeenApp(app, *seen)], ttl_ms=self._ttl_ms)
        self._told[app] = seen


def _is_news(seen: Seen, told: Seen) -> bool:
    return (
        seen.first_s < told.first_s
        or seen.last_s >= told.last_s + SIGHTING_STEP_S
        or seen.runtime_metrics_s >= told.runtime_metrics_s + SIGHTING_STEP_S
    )
