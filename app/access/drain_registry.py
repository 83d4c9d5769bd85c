"""Verifies drain secrets and linked drain tokens against a copy of the registry."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Mapping, Sequence

from app.access.access_copy import Access, AccessCopy
from app.access.access_notes import loss_in, revoked_generation
from app.access.derived_secrets import DerivedSecret, verify_derived
from app.access.drain_secrets import SECRETS_MAX, DrainRecord, Secret, decode, encode, hash_secret
from app.storage.interface.access import DrainStore
from app.storage.interface.errors import StoreUnavailable
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
    """Verifies drain credentials against this worker's copy of the records.

    A copy that may be outdated never leads to a rejection.
    """

    def __init__(
        self,
        store: DrainStore,
        access: AccessCopy,
        clock: Callable[[], float],
        secret_key: str = "",
    ) -> None:
        """
        Args:
            store: keeps the records.
            access: the copy.
            clock: returns Unix seconds.
            secret_key: verifies derived secrets; "" if there are none.
        """
        self._store = store
        self._access = access
        self._clock = clock
        self._secret_key = secret_key
        self._links_source: Mapping[str, str] | None = None
        self._links: Mapping[str, str] = {}

    @property
    def records(self) -> Mapping[str, str]:
        """The cached records by app."""
        return self._access.data.drains

    def preload(self, records: Mapping[str, str]) -> None:
        """Use these records until the store has been read, unless there is a copy."""
        self._access.preload(records)

    async def verify(self, app: str, secret: str) -> int:
        """The generation of this secret of the app; 0 if it is not valid.

        An unknown app and a wrong secret take the same time.

        Raises:
            StoreUnavailable: the secret is not in the copy, and the store cannot be read, or has
                lost its data.
        """
        access = await self._access.fresh()
        if generation := self._generation_of(app, secret, access.drains):
            return generation
        claim = verify_derived(self._secret_key, app, secret)
        try:
            access = await self._access.latest()
        except StoreUnavailable:
            if claim and not self._access.data.drains:  # this worker knows of no record at all
                return claim.generation
            raise
        generation = self._generation_of(app, secret, access.drains)
        if not generation and claim:
            generation = await self._write_again(app, secret, claim, access)
        if not generation:
            access.refuse_to_reject()
        return generation

    async def _write_again(
        self, app: str, secret: str, claim: DerivedSecret, access: Access
    ) -> int:
        """Write the record of a derived secret that was lost with its store.

        Returns:
            Its generation; 0 if it was not lost but revoked.
        """
        loss = loss_in(access.notes)
        if claim.is_of(access.store) or (loss is not None and loss.state == "discarded"):
            return 0
        record = access.drains.get(app, "")
        drain = decode(record) if record else DrainRecord([])
        known_generations = [entry.generation for entry in drain.secrets]
        if claim.generation <= max(
            known_generations, default=revoked_generation(access.notes, app)
        ):
            return 0
        await self._access.mark_lost(access, 0, 0)
        new_secret = Secret(hash_secret(secret), claim.generation, int(self._clock()))
        secrets = [*drain.secrets, new_secret][-SECRETS_MAX:]
        new_record = encode(DrainRecord(secrets, drain.links))
        if not await self._store.compare_and_set_drain(app, record, new_record):
            return self._generation_of(app, secret, (await self._access.latest()).drains)
        log.warning("%s: the record of its drain secret was lost, and is written again", app)
        return claim.generation

    def verify_cached(self, app: str, secret: str) -> int:
        """Like `verify`, but without waiting: 0 also if the copy cannot decide."""
        fresh = EagerCoroutine(self._access.fresh())
        if not fresh.is_done:
            fresh.close()
            return 0
        if _APPS_FIELD in fresh.result.drains.get(app, ""):
            return 0  # the lines of a space have to be divided
        return self._generation_of(app, secret, fresh.result.drains)

    def apps_of_space(self, name: str) -> Sequence[str]:
        """The apps whose lines the drain of a space may deliver; none for an app's own drain."""
        record = self._access.data.drains.get(name, "")
        return decode(record).apps if _APPS_FIELD in record else ()

    def app_in_space(self, space: str, hostname: str) -> str:
        """The app of a space to which a HOSTNAME belongs; "" for none.

        That is the app to which it is linked, or which it names, if the space may deliver for it.
        """
        apps = self.apps_of_space(space)
        app = self._apps_by_link(self._access.data.drains).get(hash_secret(hostname), hostname)
        return app if app in apps else ""

    async def app_of(self, token: str) -> str:
        """The app that a drain token is linked to; "" for none.

        Raises:
            StoreUnavailable: the token is not in the copy, and the store cannot be read, or has
                lost its data.
        """
        digest = hash_secret(token)
        if app := self._apps_by_link((await self._access.fresh()).drains).get(digest, ""):
            return app
        access = await self._access.latest()
        app = self._apps_by_link(access.drains).get(digest, "")
        if not app:
            access.refuse_to_reject()
        return app

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
        record = self.records.get(app)
        if record is None:
            return "unknown app"
        digest = hash_secret(secret)
        if any(hmac.compare_digest(digest, entry.hash) for entry in decode(record).secrets):
            return "secret has ended"
        return "wrong secret"
