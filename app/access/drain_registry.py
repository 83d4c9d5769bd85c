"""Verifies drain secrets and linked drain tokens against a copy of the registry."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from app.access.cached_copy import CachedCopy
from app.access.drain_secrets import SECRETS_MAX, DrainRecord, Secret, decode, encode, hash_secret
from app.storage.interface.access import DrainReader
from app.support.aio import EagerCoroutine

log = logging.getLogger(__name__)

APP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
APP_NAME_RULE = "lower-case letters, digits, dots, dashes and underscores, 63 at most"

_APPS_FIELD = '"apps":'  # in the record of a space
DRAIN_SILENT_S = 900  # dynos with runtime metrics log every 20 s


def valid_app(name: str) -> bool:
    """Whether this can be an app's name: APP_NAME_RULE, starting with a letter or digit."""
    return APP_NAME.fullmatch(name) is not None


# Compared with where an app has no secret, so that the time does not show it. Generation 0 is none.
_DUMMY_SECRET = Secret(hash_secret(""), 0)
_DUMMY_RECORD = encode(DrainRecord([_DUMMY_SECRET]))


class DrainRegistry:
    """Verifies drain credentials against this worker's cached copy of the records.

    The copy, which holds only hashes, is also saved to disk for workers that start during an outage
    of the store. A copy that may be outdated never leads to a rejection.
    """

    def __init__(
        self, store: DrainReader, clock: Callable[[], float], copy_path: Path | None = None
    ) -> None:
        """`copy_path`: the file for the copy; None to keep none."""
        self._clock = clock
        self._copy_path = copy_path
        initial_records = _read_copy(copy_path) if copy_path is not None else {}
        self._records = CachedCopy[str](store.drains, clock, initial_records, self._save_copy)
        self._links_source: Mapping[str, str] | None = None
        self._links: Mapping[str, str] = {}

    @property
    def records(self) -> Mapping[str, str]:
        """The cached records by app."""
        return self._records.data

    def preload(self, records: Mapping[str, str]) -> None:
        """Use these records until the store has been read, unless there is a copy."""
        if not self._records.data:
            self._records.data = records

    async def verify(self, app: str, secret: str) -> int:
        """The generation of this secret of the app; 0 if it is not valid.

        An unknown app and a wrong secret take the same time.

        Raises:
            StoreUnavailable: the secret is not in the cached copy, and the store cannot be read.
        """
        return self._generation_of(app, secret, await self._records.fresh()) or self._generation_of(
            app, secret, await self._records.latest()
        )

    def verify_cached(self, app: str, secret: str) -> int:
        """Like `verify`, but without waiting: 0 also if the cached copy cannot decide."""
        fresh = EagerCoroutine(self._records.fresh())
        if not fresh.is_done:
            fresh.close()
            return 0
        if _APPS_FIELD in fresh.result.get(app, ""):
            return 0  # the lines of a space have to be divided
        return self._generation_of(app, secret, fresh.result)

    def apps_of_space(self, name: str) -> Sequence[str]:
        """The apps whose lines the drain of a space may deliver; none for an app's own drain."""
        record = self._records.data.get(name, "")
        return decode(record).apps if _APPS_FIELD in record else ()

    def app_in_space(self, space: str, hostname: str) -> str:
        """The app of a space to which a HOSTNAME belongs; "" for none.

        That is the app to which it is linked, or which it names, if the space may deliver for it.
        """
        apps = self.apps_of_space(space)
        app = self._apps_by_link(self._records.data).get(hash_secret(hostname), hostname)
        return app if app in apps else ""

    async def refresh(self) -> None:
        """Refresh the copy if it is old.

        It is called periodically, so that workers without requests have a copy in an outage too.
        """
        await self._records.fresh()

    async def close(self) -> None:
        """Wait until the copy is saved to disk."""
        await self._records.close()

    async def app_of(self, token: str) -> str:
        """The app that a drain token is linked to; "" for none.

        Raises:
            StoreUnavailable: the token is not in the cached copy, and the store cannot be read.
        """
        digest = hash_secret(token)
        if app := self._apps_by_link(await self._records.fresh()).get(digest, ""):
            return app
        return self._apps_by_link(await self._records.latest()).get(digest, "")

    def _apps_by_link(self, records: Mapping[str, str]) -> Mapping[str, str]:
        if records is not self._links_source:
            self._links_source = records
            self._links = {
                digest: app for app, record in records.items() for digest in decode(record).links
            }
        return self._links

    def _generation_of(self, app: str, secret: str, records: Mapping[str, str]) -> int:
        digest = hash_secret(secret)
        now_s = self._clock()
        generation = 0
        secrets = decode(records.get(app, _DUMMY_RECORD)).secrets
        # Always SECRETS_MAX comparisons, so that the time does not depend on the app.
        for number in range(SECRETS_MAX):
            entry = secrets[number] if number < len(secrets) else _DUMMY_SECRET
            is_match = hmac.compare_digest(digest, entry.hash)
            if is_match and not 0 < entry.until_s <= now_s:
                generation = entry.generation
        return generation

    def rejection_reason(self, app: str, secret: str) -> str:
        """Why `verify` returned 0. For the operator, never for the sender."""
        record = self._records.data.get(app)
        if record is None:
            return "unknown app"
        digest = hash_secret(secret)
        if any(hmac.compare_digest(digest, entry.hash) for entry in decode(record).secrets):
            return "secret has ended"
        return "wrong secret"

    async def _save_copy(self, records: Mapping[str, str]) -> None:
        if self._copy_path is not None:
            await asyncio.to_thread(_write_copy, self._copy_path, records)


def _read_copy(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("Cannot read the copy of the drain secrets in %s: %s", path, error)
        return {}


def _write_copy(path: Path, records: Mapping[str, str]) -> None:
    """Replace the copy atomically. Only our user can read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(msgspec.json.encode(records))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("Cannot save a copy of the drain secrets in %s: %s", path, error)
