"""Who may send, and whom we have heard from."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from app.access.cached_copy import CachedCopy
from app.access.drain_secrets import SECRETS_MAX, DrainRecord, Secret, decode, encode, hash_secret
from app.storage.interface import Store
from app.support.aio import EagerCoroutine

log = logging.getLogger(__name__)

APP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
APP_NAME_RULE = "lower-case letters, digits, dots, dashes and underscores, 63 at most"

DRAIN_SILENT_S = 900  # dynos with runtime metrics speak every 20 s


def valid_app(name: str) -> bool:
    """Whether this can be an app's name: APP_NAME_RULE, beginning with a letter or digit."""
    return APP_NAME.fullmatch(name) is not None


# What a secret is compared with where there is none: its generation is no generation.
_NOBODYS = Secret(hash_secret(""), 0)
_NOBODYS_RECORD = encode(DrainRecord([_NOBODYS]))


class DrainRegistry:
    """Who may send: the registered drain secrets, as this worker last read them.

    The copy is also kept on disk, hashes only, for a worker that starts while the store is away.
    Nobody is turned away by a copy that may be out of date.
    """

    def __init__(self, store: Store, clock: Callable[[], float], copy: Path | None = None) -> None:
        """`copy`: the file to keep a copy in."""
        self._clock = clock
        self._copy = copy
        first = _read_copy(copy) if copy is not None else {}
        self._records = CachedCopy[str](store.drains, clock, first, self._keep_copy)
        self._links_of: Mapping[str, str] | None = None
        self._links: Mapping[str, str] = {}

    @property
    def held(self) -> Mapping[str, str]:
        """The record of each app, as it was read last."""
        return self._records.held

    def assume(self, records: Mapping[str, str]) -> None:
        """Take these until the store was read."""
        if not self._records.held:
            self._records.held = records

    async def verify(self, app: str, secret: str) -> int:
        """The generation of the app's secret that this is; 0 when it is none. An unknown app and a
        wrong secret cost the same time.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        return self._judge(app, secret, await self._records.fresh()) or self._judge(
            app, secret, await self._records.latest()
        )

    def verify_at_once(self, app: str, secret: str) -> int:
        """The same by the copy alone, if it is not too old; 0 also where this cannot be told so."""
        fresh = EagerCoroutine(self._records.fresh())
        if not fresh.is_done:
            fresh.close()
            return 0
        return self._judge(app, secret, fresh.result)

    async def refresh(self) -> None:
        """Read the registry if the copy is old. Called now and then also where nobody asks, so that
        every worker has a copy when the store goes away.
        """
        await self._records.fresh()

    async def close(self) -> None:
        """Wait until the copy is on disk."""
        await self._records.close()

    async def app_of(self, token: str) -> str:
        """The app that a drain token is linked to; "" for none.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        hashed = hash_secret(token)
        return self._linked(await self._records.fresh()).get(hashed, "") or self._linked(
            await self._records.latest()
        ).get(hashed, "")

    def _linked(self, records: Mapping[str, str]) -> Mapping[str, str]:
        if records is not self._links_of:
            self._links_of = records
            self._links = {
                hashed: app for app, record in records.items() for hashed in decode(record).links
            }
        return self._links

    def _judge(self, app: str, secret: str, records: Mapping[str, str]) -> int:
        given = hash_secret(secret)
        now_s = self._clock()
        found = 0
        known = decode(records.get(app, _NOBODYS_RECORD)).secrets
        for number in range(SECRETS_MAX):
            each = known[number] if number < len(known) else _NOBODYS
            right = hmac.compare_digest(given, each.hash)
            if right and not 0 < each.until_s <= now_s:
                found = each.generation
        return found

    def why_refused(self, app: str, secret: str) -> str:
        """Why `verify` said 0: for the operator, never for the sender."""
        record = self._records.held.get(app)
        if record is None:
            return "unknown app"
        given = hash_secret(secret)
        if any(hmac.compare_digest(given, each.hash) for each in decode(record).secrets):
            return "secret has ended"
        return "wrong secret"

    async def _keep_copy(self, records: Mapping[str, str]) -> None:
        if self._copy is not None:
            await asyncio.to_thread(_write_copy, self._copy, records)


def _read_copy(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("the copy of the drain secrets in %s cannot be read: %s", path, error)
        return {}


def _write_copy(path: Path, records: Mapping[str, str]) -> None:
    """Replace the copy, whole or not at all; readable by us alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(msgspec.json.encode(records))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("no copy of the drain secrets could be kept in %s: %s", path, error)
