"""Adding, rotating and removing drains: for the command and the API alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.access.drain_election import DrainElection, unpack_state
from app.access.drain_secrets import (
    DrainRecord,
    decode,
    encode,
    first,
    hash_secret,
    linked,
    new_secret,
    retired,
    rotated,
    unlinked,
)
from app.access.drain_status import removal
from app.storage.interface import Store
from app.support.errors import UserError

_TRIES = 10
_BEING_CHANGED = "{}: is being changed by somebody else; try again"

_PUBLIC_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?)")


class DrainAdminError(UserError):
    """This cannot be done as things are; the message says what can."""


class DrainCommands(NamedTuple):
    """`add`: the command that tells Heroku, with the secret in it, which is kept nowhere.
    `remove`: the one that ends the drain before it; "" when there is none that we know.
    """

    app: str
    add: str
    remove: str


class DrainAdmin:
    """Works on the store."""

    def __init__(self, store: Store, clock: Callable[[], float], public_url: str) -> None:
        """`public_url`: at which Heroku reaches the service; "" where that is not known."""
        self._store = store
        self._clock = clock
        self._public_url = public_url

    async def refuse_taken(self, apps: Sequence[str]) -> None:
        """
        Raises:
            EnrolmentError: one of these apps has a secret.
        """
        registered = await self._store.drains()
        if taken := [app for app in apps if app in registered and _secrets(registered[app])]:
            raise DrainAdminError(
                f"{', '.join(taken)}: has a drain already; nothing was changed. "
                "For a new secret: dynometer drains rotate APP"
            )

    async def add(self, app: str) -> DrainCommands:
        """Give an app its first secret.

        Raises:
            EnrolmentError: it has one, or the public address is missing.
        """
        address = self._address()
        secret = new_secret()
        state = await self._state(app)
        drain = first(secret, self._now_s, last=state.generation if state else 0)
        for _ in range(_TRIES):
            record = (await self._store.drains()).get(app, "")
            if record:
                await self.refuse_taken([app])
                drain.links = decode(record).links
            if await self._store.compare_and_set_drain(app, record, encode(drain)):
                return DrainCommands(app, _add(address, app, secret), "")
        raise DrainAdminError(_BEING_CHANGED.format(app))

    async def link(self, app: str, token: str) -> None:
        """Let a drain token speak for an app, and for no other.

        Raises:
            EnrolmentError: it speaks for another one.
        """
        for other, record in (await self._store.drains()).items():
            if other != app and hash_secret(token) in decode(record).links:
                raise DrainAdminError(
                    f"{token} is linked to {other}; first: dynometer drains unlink {other} {token}"
                )
        await self._change(app, lambda drain: linked(drain, token))

    async def unlink(self, app: str, token: str) -> None:
        """Let it speak for the app no more.

        Raises:
            EnrolmentError: it does not.
        """

        def without(drain: DrainRecord | None) -> DrainRecord:
            if drain is None or hash_secret(token) not in drain.links:
                raise DrainAdminError(f"{token} is not linked to {app}. See: dynometer drains list")
            return unlinked(drain, token)

        await self._change(app, without)

    async def _change(self, app: str, change: Callable[[DrainRecord | None], DrainRecord]) -> None:
        for _ in range(_TRIES):
            record = (await self._store.drains()).get(app, "")
            changed = change(decode(record) if record else None)
            kept = encode(changed) if changed.secrets or changed.links else ""
            if await self._store.compare_and_set_drain(app, record, kept):
                return
        raise DrainAdminError(_BEING_CHANGED.format(app))

    async def rotate(self, app: str, *, at_once: bool = False) -> DrainCommands:
        """Give an app a new secret; the old one holds until the new drain has taken over.

        Args:
            at_once: the old one ends now, and what comes with it is refused.
        Raises:
            EnrolmentError: it has none, or the public address is missing.
        """
        address = self._address()
        for _ in range(_TRIES):
            record = (await self._store.drains()).get(app)
            if record is None or not _secrets(record):
                raise DrainAdminError(f"{app}: has no drain; first: dynometer drains add {app}")
            state = await self._state(app)
            secret = new_secret()
            drain = rotated(
                decode(record),
                secret,
                self._now_s,
                active=state.generation if state else 0,
                at_once=at_once,
            )
            if await self._store.compare_and_set_drain(app, record, encode(drain)):
                before = removal(app, state.token) if state else ""
                return DrainCommands(app, _add(address, app, secret), before)
        raise DrainAdminError(_BEING_CHANGED.format(app))

    async def remove(self, app: str) -> list[str]:
        """Forget an app's secrets: nothing of it is taken any more, what was counted stays.
        Returns the commands that end its drains at Heroku, as far as they are known.

        Raises:
            EnrolmentError: it has none.
        """
        for _ in range(_TRIES):
            record = (await self._store.drains()).get(app)
            if record is None:
                raise DrainAdminError(f"{app}: has no drain. See: dynometer drains list")
            state = await self._state(app)
            if await self._store.compare_and_set_drain(app, record, ""):
                tokens = [state.token, state.other] if state else []
                return [removal(app, token) for token in tokens if token]
        raise DrainAdminError(_BEING_CHANGED.format(app))

    async def retire(self) -> None:
        """End old secrets whose drain was replaced; doing it again changes nothing."""
        drains = {
            app: (record, decode(record)) for app, record in (await self._store.drains()).items()
        }
        replaced = [app for app, (_, drain) in drains.items() if len(drain.secrets) > 1]
        for app, packed in (await self._store.drain_states(replaced)).items():
            state = unpack_state(packed)
            record, drain = drains[app]
            after = encode(retired(drain, state.generation if state else 0, self._now_s))
            if after != record:
                await self._store.compare_and_set_drain(app, record, after)

    @property
    def _now_s(self) -> int:
        return int(self._clock())

    async def _state(self, app: str) -> DrainElection | None:
        return unpack_state((await self._store.drain_states([app])).get(app, b""))

    def _address(self) -> tuple[str, str]:
        """(scheme, the rest) of the public address."""
        if not self._public_url:
            raise DrainAdminError(
                "DYNOMETER_PUBLIC_URL is not set: set it to the address at which Heroku reaches "
                "the service, as in export DYNOMETER_PUBLIC_URL=https://metrics.example.com"
            )
        match = _PUBLIC_URL.fullmatch(self._public_url)
        if match is None:  # a shell could misread it
            raise DrainAdminError(
                "DYNOMETER_PUBLIC_URL cannot be used for a drain: expected https://HOST, "
                "without credentials, query or fragment"
            )
        return match[1], match[2].rstrip("/")


def _secrets(record: str) -> bool:
    """Whether there are any, and not only links."""
    return bool(decode(record).secrets)


def _add(address: tuple[str, str], app: str, secret: str) -> str:
    scheme, rest = address
    return f'heroku drains:add "{scheme}://{app}:{secret}@{rest}/drain" -a {app}'
