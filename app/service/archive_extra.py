"""Imports and builds the archive, which needs PostgreSQL's client, an optional dependency."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from app.config import ConfigError, Settings
from app.rollup.resolutions import DAY_S, ArchivedTiers, Resolution
from app.storage.interface.rollups import RollupReader
from app.storage.interface.store import Store

if TYPE_CHECKING:
    from app.archive.archived_apps import ArchivedApps
    from app.archive.archiver import Archiver
    from app.archive.database import Database
    from app.archive.plugin import ArchivePlugin


_FOREVER_S = 100 * 365 * DAY_S


class History(NamedTuple):
    """All rollups that can be read.

    Attributes:
        rollups: reads them.
        prompt_rollups: reads them for work that must not wait for the archive: it raises
            HistoryUnavailable soon.
        archive: the apps in it; None if none is configured.
        tiers: their resolutions, finest first; several may have the same length.
        hours: those of up to an hour, which verdicts need.
    """

    rollups: RollupReader
    prompt_rollups: RollupReader
    archive: ArchivedApps | None
    tiers: Sequence[Resolution]
    hours: Sequence[Resolution]


def load_archive(module: str) -> ModuleType:
    """Import a module of app.archive.

    Raises:
        ConfigError: the client is not installed.
    """
    try:
        return import_module(f"app.archive.{module}")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ConfigError(
            "DYNOMETER_ARCHIVE_URL is set, but PostgreSQL's client is not installed. Run 'make "
            "archive' or 'pip install -r requirements-archive.txt'."
        ) from None


def open_archive(settings: Settings) -> Database:
    """The archive's database.

    Raises:
        ConfigError: no archive is configured, or the client is not installed.
        ArchiveError: its URL cannot be read.
    """
    if not settings.archive_url:
        raise ConfigError(
            "no archive is configured: set DYNOMETER_ARCHIVE_URL=postgresql://USER@HOST/DATABASE"
        )
    database: Database = load_archive("database").Database(settings.archive_url)
    return database


def build_archiver(
    settings: Settings,
    store: Store,
    database: Database,
    hours: Resolution,
    clock: Callable[[], float],
) -> Archiver:
    """Build the part that writes. `hours`: the store's resolution of hours."""
    module = load_archive("archiver")
    archiver: Archiver = module.Archiver(
        store,
        database,
        hours=hours,
        horizon_s=settings.horizon_past_s,
        retention=module.Retention(
            settings.archive_retention_1h_s, settings.archive_retention_1d_s
        ),
        limits=settings.limits,
        clock=clock,
    )
    return archiver


def build_archive_plugin(
    settings: Settings,
    store: Store,
    database: Database,
    hours: Resolution,
    clock: Callable[[], float],
    is_leader: Callable[[], bool],
) -> ArchivePlugin:
    """Build the background plugin."""
    archiver = build_archiver(settings, store, database, hours, clock)
    plugin: Any = load_archive("plugin").ArchivePlugin(
        archiver, database, store, is_leader=is_leader, clock=clock
    )
    archive_plugin: ArchivePlugin = plugin
    return archive_plugin


@asynccontextmanager
async def open_archived_apps(settings: Settings) -> AsyncIterator[ArchivedApps | None]:
    """The apps in the archive; None if none is configured.

    Raises:
        ConfigError, ArchiveError: as open_archive.
    """
    if not settings.archive_url:
        yield None
        return
    database = open_archive(settings)
    try:
        yield load_archive("archived_apps").ArchivedApps(database)
    finally:
        await database.close()


def hours_kept_s(settings: Settings) -> int:
    """How long hours are kept, in the store or its archive."""
    if not settings.archive_url:
        return settings.retention_1h_s
    return settings.archive_retention_1h_s or _FOREVER_S


def build_history(
    settings: Settings,
    store: Store,
    tiers: Sequence[Resolution],
    database: Database | None,
    clock: Callable[[], float],
) -> History:
    """Build the reader of the store and, if there is one, its archive.

    Args:
        settings: of this process.
        store: holds the latest rollups.
        tiers: the stored resolutions, finest first.
        database: that of the archive; None if none is configured.
        clock: returns Unix time in seconds.
    """
    if database is None:
        return History(store, store, None, tiers, tiers)
    module = load_archive("history_reader")
    hours = tiers[-1]
    new_reader = partial(
        module.HistoryReader,
        store,
        hours=hours,
        settled_after_s=settings.horizon_past_s + load_archive("archiver").FOLDED_AFTER_S,
        clock=clock,
    )
    older_hours = hours._replace(retention_s=hours_kept_s(settings))
    days = Resolution(module.DAYS, DAY_S, settings.archive_retention_1d_s or _FOREVER_S)
    return History(
        new_reader(load_archive("archive_reader").ArchiveReader(database)),
        new_reader(load_archive("prompt_reader").PromptReader(database)),
        load_archive("archived_apps").ArchivedApps(database),
        ArchivedTiers(tiers, [older_hours, days]),
        ArchivedTiers(tiers, [older_hours]),
    )
