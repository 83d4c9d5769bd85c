"""Adds, rotates, links and removes drains, for the command line and the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from app.access.access_notes import (
    describe_loss,
    loss_in,
    note_revoked,
    revoked_generation,
)
from app.access.derived_secrets import derive_secret
from app.access.drain_election import DrainElection, unpack_state
from app.access.drain_secrets import (
    DrainRecord,
    create_record,
    decode,
    encode,
    hash_secret,
    link_token,
    new_secret,
    newest_generation,
    retire_secrets,
    rotate_secret,
    unlink_token,
)
from app.access.drain_status import removal_command
from app.storage.interface.access import AccessStore, AccessTables
from app.support.errors import UserError

_ATTEMPTS_MAX = 10
_EMPTY = encode(DrainRecord([]))
_CONFLICT = "{}: other processes keep changing its drains. Try again."

_PUBLIC_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?)")


class DrainAdminError(UserError):
    """A request that cannot be carried out now; the message contains the fix."""


class DrainCommands(NamedTuple):
    """Heroku commands for the operator to run.

    Attributes:
        add: adds the drain. It contains the secret, which is not stored anywhere.
        remove: removes the drain that it replaces; "" if none is known.
    """

    app: str
    add: str
    remove: str


class DrainAdmin:
    """Changes drain records in the store; concurrent changes are retried."""

    def __init__(
        self,
        store: AccessStore,
        clock: Callable[[], float],
        public_url: str,
        secret_key: str = "",
    ) -> None:
        """
        Args:
            store: keeps the records.
            clock: returns Unix seconds.
            public_url: where Heroku reaches the service; "" if unknown.
            secret_key: from which secrets are derived; "" for random secrets.
        """
        self._store = store
        self._clock = clock
        self._public_url = public_url
        self._secret_key = secret_key

    async def ensure_unregistered(self, apps: Sequence[str]) -> None:
        """Check that none of these apps has a secret.

        Raises:
            DrainAdminError: one has.
        """
        records = await self._store.drains()
        if registered_apps := [
            app for app in apps if app in records and _has_secrets(records[app])
        ]:
            raise DrainAdminError(
                f"{', '.join(registered_apps)}: already has a drain. Nothing was changed. "
                "For a new secret, run: dynometer drains rotate APP"
            )

    async def add(self, app: str, *, space_apps: Sequence[str] = ()) -> DrainCommands:
        """Give an app its first secret.

        Args:
            space_apps: `app` is the name of a space, whose drain delivers the lines of these apps.
        Raises:
            DrainAdminError: it has one, or the public URL is missing.
        """
        address = self._split_public_url()
        await self._ensure_allowed(app, space_apps)
        tables = await self._tables()
        state = await self._election_of(app)
        last_generation = max(
            state.generation if state else 0, revoked_generation(tables.notes, app)
        )
        secret = self._new_secret(app, last_generation + 1, tables)
        drain = create_record(secret, self._now_s, last_generation=last_generation, apps=space_apps)
        for _ in range(_ATTEMPTS_MAX):
            record = (await self._store.drains()).get(app, "")
            if record:
                await self.ensure_unregistered([app])
                drain.links = decode(record).links
            if await self._store.compare_and_set_drain(app, record, encode(drain)):
                return DrainCommands(app, _add_command(address, app, secret, space_apps), "")
        raise DrainAdminError(_CONFLICT.format(app))

    async def allow(self, space: str, apps: Sequence[str]) -> None:
        """Let the drain of a space deliver the lines of more apps.

        Raises:
            DrainAdminError: it is not the drain of a space, or one of the apps is a space.
        """
        await self._ensure_allowed(space, apps)
        await self._change_apps(space, lambda before: list(dict.fromkeys([*before, *apps])))

    async def disallow(self, space: str, apps: Sequence[str]) -> None:
        """Let the drain of a space no longer deliver the lines of these apps.

        Raises:
            DrainAdminError: it is not the drain of a space, or none of its apps would remain.
        """
        await self._change_apps(space, lambda before: [app for app in before if app not in apps])

    async def _change_apps(self, space: str, change: Callable[[list[str]], list[str]]) -> None:
        def change_record(drain: DrainRecord | None) -> DrainRecord:
            if drain is None or not drain.apps:
                raise DrainAdminError(
                    f"{space}: is not the drain of a space. "
                    f"First run: dynometer drains add --space {space} APP"
                )
            apps = change(drain.apps)
            if not apps:
                raise DrainAdminError(
                    f"{space}: no app would remain. To remove the drain, run: "
                    f"dynometer drains remove {space}"
                )
            return msgspec.structs.replace(drain, apps=apps)

        await self._change(space, change_record)

    async def _ensure_allowed(self, space: str, apps: Sequence[str]) -> None:
        records = await self._store.drains()
        spaces = [app for app in apps if app == space or decode(records.get(app, _EMPTY)).apps]
        if spaces:
            raise DrainAdminError(
                f"{', '.join(spaces)}: is the name of a space's drain. Lines that belong to no app "
                "are counted under it, so it cannot be an app too. Give the space another name."
            )

    async def link(self, app: str, token: str) -> None:
        """Link a drain token to an app, so that syslog messages with it belong to the app.

        Raises:
            DrainAdminError: it is linked to another app.
        """
        for linked_app, record in (await self._tables()).drains.items():
            if linked_app != app and hash_secret(token) in decode(record).links:
                raise DrainAdminError(
                    f"{token} is linked to {linked_app}. First run: "
                    f"dynometer drains unlink {linked_app} {token}"
                )
        await self._change(app, lambda drain: link_token(drain, token))

    async def unlink(self, app: str, token: str) -> None:
        """Remove the link of a drain token to an app.

        Raises:
            DrainAdminError: there is none.
        """

        def remove_link(drain: DrainRecord | None) -> DrainRecord:
            if drain is None or hash_secret(token) not in drain.links:
                raise DrainAdminError(
                    f"{token} is not linked to {app}. For all links, run: dynometer drains list"
                )
            return unlink_token(drain, token)

        await self._change(app, remove_link)

    async def _change(self, app: str, change: Callable[[DrainRecord | None], DrainRecord]) -> None:
        for _ in range(_ATTEMPTS_MAX):
            record = (await self._tables()).drains.get(app, "")
            new_drain = change(decode(record) if record else None)
            new_record = encode(new_drain) if new_drain.secrets or new_drain.links else ""
            if await self._store.compare_and_set_drain(app, record, new_record):
                return
        raise DrainAdminError(_CONFLICT.format(app))

    async def rotate(self, app: str, *, at_once: bool = False) -> DrainCommands:
        """Give an app a new secret; the old one stays valid until the new drain has taken over.

        Args:
            at_once: the old secret ends now, and deliveries with it are rejected.
        Raises:
            DrainAdminError: the app has no secret, or the public URL is missing.
        """
        address = self._split_public_url()
        for _ in range(_ATTEMPTS_MAX):
            tables = await self._tables()
            record = tables.drains.get(app)
            if record is None or not _has_secrets(record):
                raise DrainAdminError(f"{app}: has no drain. First run: dynometer drains add {app}")
            state = await self._election_of(app)
            secret = self._new_secret(app, newest_generation(decode(record)) + 1, tables)
            drain = rotate_secret(
                decode(record),
                secret,
                self._now_s,
                active_generation=state.generation if state else 0,
                at_once=at_once,
            )
            if await self._store.compare_and_set_drain(app, record, encode(drain)):
                remove_command = removal_command(app, state.token) if state else ""
                add_command = _add_command(address, app, secret, drain.apps)
                return DrainCommands(app, add_command, remove_command)
        raise DrainAdminError(_CONFLICT.format(app))

    async def remove(self, app: str) -> list[str]:
        """Remove an app's secrets and links. Its data stays, but deliveries are rejected.

        Returns:
            The Heroku commands that remove its drains, as far as they are known.
        Raises:
            DrainAdminError: it has none.
        """
        for _ in range(_ATTEMPTS_MAX):
            record = (await self._tables()).drains.get(app)
            if record is None:
                raise DrainAdminError(
                    f"{app}: has no drain. For all drains, run: dynometer drains list"
                )
            state = await self._election_of(app)
            await note_revoked(self._store, app, newest_generation(decode(record)))
            if await self._store.compare_and_set_drain(app, record, ""):
                tokens = [state.token, state.other_token] if state else []
                return [removal_command(app, token) for token in tokens if token]
        raise DrainAdminError(_CONFLICT.format(app))

    async def retire_secrets(self) -> None:
        """Let secrets expire whose drain was replaced. Repeating it changes nothing."""
        drains = {
            app: (record, decode(record)) for app, record in (await self._store.drains()).items()
        }
        rotated_apps = [app for app, (_, drain) in drains.items() if len(drain.secrets) > 1]
        for app, data in (await self._store.drain_states(rotated_apps)).items():
            state = unpack_state(data)
            record, drain = drains[app]
            new_record = encode(
                retire_secrets(drain, state.generation if state else 0, self._now_s)
            )
            if new_record != record:
                await self._store.compare_and_set_drain(app, record, new_record)

    async def _tables(self) -> AccessTables:
        """The records, for a change of them.

        Raises:
            DrainAdminError: the store lost its data, and a restoration would undo the change.
        """
        tables = await self._store.access_tables()
        loss = loss_in(tables.notes)
        if loss is not None and loss.is_active:
            raise DrainAdminError(f"{describe_loss(loss)} Nothing was changed.")
        return tables

    def _new_secret(self, app: str, generation: int, tables: AccessTables) -> str:
        if self._secret_key:
            return derive_secret(self._secret_key, app, generation, tables.identity.id)
        return new_secret()

    @property
    def _now_s(self) -> int:
        return int(self._clock())

    async def _election_of(self, app: str) -> DrainElection | None:
        return unpack_state((await self._store.drain_states([app])).get(app, b""))

    def _split_public_url(self) -> tuple[str, str]:
        """(scheme, host and path) of the public URL.

        Raises:
            DrainAdminError: it is missing or cannot be used.
        """
        if not self._public_url:
            raise DrainAdminError(
                "DYNOMETER_PUBLIC_URL is not set. Set it to the address at which Heroku reaches "
                "the service, as in export DYNOMETER_PUBLIC_URL=https://metrics.example.com"
            )
        match = _PUBLIC_URL.fullmatch(self._public_url)
        if match is None:  # it goes into a shell command
            raise DrainAdminError(
                "DYNOMETER_PUBLIC_URL cannot be used for a drain. Set it to https://HOST, "
                "without credentials, query or fragment."
            )
        return match[1], match[2].rstrip("/")


def _has_secrets(record: str) -> bool:
    """Whether a record has secrets, not only links."""
    return bool(decode(record).secrets)


def _add_command(address: tuple[str, str], app: str, secret: str, space_apps: Sequence[str]) -> str:
    scheme, rest = address
    url = f'"{scheme}://{app}:{secret}@{rest}/drain"'
    return (
        f"heroku drains:set {url} -s {app}" if space_apps else f"heroku drains:add {url} -a {app}"
    )
