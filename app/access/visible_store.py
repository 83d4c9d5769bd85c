"""Restricts reads to the apps that the current request may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from app.access.read_tokens import Permissions, current_permissions
from app.access.rejected_logins import REJECTED_LOGINS_PREFIX
from app.storage.interface.alerts import TABLES_OF_APPS, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot
from app.storage.interface.rollups import Contents, Part, RollupReader
from app.storage.interface.store import Reader, StoreReader
from app.support.globs import matches_glob


class FormerAppReader(Protocol):
    """Knows apps that the store has forgotten."""

    async def find(self, app: str) -> SeenApp | None:
        """An app; None if it is unknown."""
        ...

    async def latest(self) -> list[SeenApp]:
        """The apps that were seen last."""
        ...


class VisibleStore:
    """A Reader in which apps that the request may not see do not exist.

    All queries and pages read through it, so no route can forget to check permissions.
    """

    def __init__(
        self,
        store: StoreReader,
        rollups: RollupReader | None = None,
        archive: FormerAppReader | None = None,
    ) -> None:
        self._store = store
        self._rollups = rollups or store
        self._archive = archive

    async def seen_apps(self) -> list[SeenApp]:
        allows = current_permissions.get().allows
        return [sighting for sighting in await self._store.seen_apps() if allows(sighting.app)]

    async def find_app(self, app: str) -> SeenApp | None:
        for sighting in await self.seen_apps():
            if sighting.app == app:
                return sighting
        if self._archive is None or not current_permissions.get().allows(app):
            return None
        return await self._archive.find(app)

    async def former_apps(self) -> list[SeenApp]:
        if self._archive is None:
            return []
        allows = current_permissions.get().allows
        present = {sighting.app for sighting in await self._store.seen_apps()}
        return [
            former_app
            for former_app in await self._archive.latest()
            if former_app.app not in present and allows(former_app.app)
        ]

    async def drains(self) -> dict[str, str]:
        allows = current_permissions.get().allows
        return {app: drain for app, drain in (await self._store.drains()).items() if allows(app)}

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        if not current_permissions.get().allows(app):
            return Contents([], {})
        return await self._rollups.read(app, slots, inbox=inbox)

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        allows = current_permissions.get().allows
        visible = [request for request in requests if allows(request[0])]
        contents = iter(await self._rollups.read_many(visible))
        return [next(contents) if allows(app) else Contents([], {}) for app, _ in requests]

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        allows = current_permissions.get().allows
        visible = [request for request in requests if allows(request[0])]
        parts = iter(await self._rollups.read_parts(visible, bytes_max))
        return [
            next(parts) if allows(app) else Part(Contents([], {}), len(slots))
            for app, slots in requests
        ]

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        allows = current_permissions.get().allows
        return await self._store.reachable_apps([app for app in apps if allows(app)])

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        allows = current_permissions.get().allows
        return await self._store.drain_states([app for app in apps if allows(app)])

    async def statuses(self) -> dict[str, dict[str, str]]:
        # Rejected logins may name any app, so only an admin sees them.
        statuses = await self._store.statuses()
        if current_permissions.get().admin:
            return statuses
        return {
            name: fields
            for name, fields in statuses.items()
            if not name.startswith(REJECTED_LOGINS_PREFIX)
        }

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        permissions = current_permissions.get()
        contents = await self._store.alert_tables(*tables)
        if permissions.admin:
            return contents
        apps = [sighting.app for sighting in await self.seen_apps()]
        return [
            _visible_records(table, records, permissions, apps)
            for table, records in zip(tables, contents, strict=True)
        ]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        allows = current_permissions.get().allows
        return await self._store.alert_history([app for app in apps if allows(app)], count)

    async def episodes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        allows = current_permissions.get().allows
        return await self._store.episodes([app for app in apps if allows(app)], count)


EVERY_APP = ("*",)  # the default of a rule, which is stored without it


class _RuleApps(msgspec.Struct):
    """The field of a stored rule that names its apps, as globs."""

    apps: tuple[str, ...] = EVERY_APP


def _visible_records(
    table: AlertTable, records: Mapping[str, bytes], permissions: Permissions, apps: Sequence[str]
) -> dict[str, bytes]:
    """The records that a request without admin rights may see.

    It sees records of its apps, and rules that match one of them; such a rule names only apps that
    the request may see. Channels, outbox and delivery
    health are for admins only.
    """
    if table in TABLES_OF_APPS:
        return {app: record for app, record in records.items() if permissions.allows(app)}
    if table is AlertTable.RULES:
        rules = {name: _visible_rule(record, apps) for name, record in records.items()}
        return {name: rule for name, rule in rules.items() if rule}
    return {}


def _visible_rule(record: bytes, apps: Sequence[str]) -> bytes:
    """A stored rule as if it named only these apps; b"" if it matches none of them."""
    globs = msgspec.json.decode(record, type=_RuleApps).apps
    names = [app for app in apps if any(matches_glob(app, glob) for glob in globs)]
    if not names or globs == EVERY_APP:
        return record if names else b""
    return msgspec.json.encode({**msgspec.json.decode(record), "apps": names})


def restrict(
    store: StoreReader, rollups: RollupReader | None = None, archive: FormerAppReader | None = None
) -> Reader:
    """A view of the store that shows only what the current request may see.

    Args:
        store: holds the apps.
        rollups: another reader of the same rollups, such as one that knows years of them.
        archive: knows apps that the store has forgotten; None for none.
    """
    return VisibleStore(store, rollups, archive)
