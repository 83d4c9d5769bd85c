"""TODO docstring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from app.access.read_tokens import Permissions, current
from app.storage.alert_interface import TABLES_OF_APPS, AlertTable
from app.storage.interface import REJECTED_LOGINS_PREFIX, Contents, Reader, SeenApp, Slot, Store


class VisibleStore:
    """The store as the present request may see it: an app that it may not see does not exist. All
    that answers questions is given this one, so no route can forget it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def seen_apps(self) -> list[SeenApp]:
        """See port.Reader."""
        allows = current.get().allows
        return [seen for seen in await self._store.seen_apps() if allows(seen.app)]

    async def drains(self) -> dict[str, str]:
        """See port.Reader."""
        allows = current.get().allows
        return {app: drain for app, drain in (await self._store.drains()).items() if allows(app)}

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        """See port.Reader."""
        if not current.get().allows(app):
            return Contents([], {})
        return await self._store.read(app, slots, inbox=inbox)

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        """See port.Reader."""
        allows = current.get().allows
        visible = [each for each in asked if allows(each[0])]
        found = iter(await self._store.read_many(visible))
        return [next(found) if allows(app) else Contents([], {}) for app, _ in asked]

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        """See port.Reader."""
        allows = current.get().allows
        return await self._store.reachable_apps([app for app in apps if allows(app)])

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        """See port.Reader."""
        allows = current.get().allows
        return await self._store.drain_states([app for app in apps if allows(app)])

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        """See port.Reader. Whom the drain refused is for the admin."""
        heartbeats = await self._store.heartbeats()
        if current.get().admin:
            return heartbeats
        return {
            name: beat
            for name, beat in heartbeats.items()
            if not name.startswith(REJECTED_LOGINS_PREFIX)
        }

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        """See alert_port.AlertReader. Whom alerts are told, and what waits, is for the admin; of
        rules, those that are about an app that may be seen.
        """
        access = current.get()
        found = await self._store.alert_tables(*tables)
        if access.admin:
            return found
        apps = [seen.app for seen in await self.seen_apps()]
        return [
            _visible_records(table, records, access, apps)
            for table, records in zip(tables, found, strict=True)
        ]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """See alert_port.AlertReader."""
        allows = current.get().allows
        return await self._store.alert_history([app for app in apps if allows(app)], count)


class _About(msgspec.Struct):
    """Which apps a rule is about, as globs."""

    apps: tuple[str, ...] = ()


def _visible_records(
    table: AlertTable, records: Mapping[str, bytes], access: Permissions, apps: Sequence[str]
) -> dict[str, bytes]:
    if table in TABLES_OF_APPS:
        return {app: record for app, record in records.items() if access.allows(app)}
    if table is AlertTable.RULES:
        return {
            name: record
            for name, record in records.items()
            if any(
                fnmatchcase(app, glob)
                for glob in msgspec.json.decode(record, type=_About).apps
                for app in apps
            )
        }
    return {}


def visible(store: Store) -> Reader:
    """A store that shows what the present request may see."""
    return VisibleStore(store)
