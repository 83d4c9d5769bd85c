"""Imports and builds the archive, which needs PostgreSQL's client, an optional dependency."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from app.config import ConfigError, Settings
from app.rollup.resolutions import Resolution
from app.storage.interface.store import Store

if TYPE_CHECKING:
    from app.archive.archived_apps import ArchivedApps
    from app.archive.archiver import Archiver
    from app.archive.database import Database
    from app.archive.plugin import ArchivePlugin


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
    hours: Resolution,
    clock: Callable[[], float],
    is_leader: Callable[[], bool],
) -> ArchivePlugin:
    """Build the background plugin."""
    database = open_archive(settings)
    archiver = build_archiver(settings, store, database, hours, clock)
    plugin: Any = load_archive("plugin").ArchivePlugin(
        archiver, database, store, is_leader=is_leader, clock=clock
    )
    archive_plugin: ArchivePlugin = plugin
    return archive_plugin


def build_archived_apps(settings: Settings) -> ArchivedApps | None:
    """Build the removal of apps from the archive; None if none is configured."""
    if not settings.archive_url:
        return None
    apps: ArchivedApps = load_archive("archived_apps").ArchivedApps(open_archive(settings))
    return apps
