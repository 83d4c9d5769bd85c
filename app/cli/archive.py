"""`dynometer archive`: creates, inspects, fills and checks the archive in PostgreSQL."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from app.cli.open_store import open_store
from app.cli.output import ProgressLine, format_bytes, format_minute, print_err, print_table
from app.config import Settings
from app.service.archive_extra import build_archiver, load_archive, open_archive
from app.service.ranges import build_tiers

Action = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]

DIFFERENCES_MAX = 20  # are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands init, status, backfill and verify."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    init = actions.add_parser("init", help="create or upgrade the schema, and grant rights")
    init.add_argument("--dry-run", action="store_true", help="print the SQL, and change nothing")
    init.add_argument(
        "--writer", metavar="ROLE", action="append", default=[], help="a role that services use"
    )
    init.add_argument(
        "--reader", metavar="ROLE", action="append", default=[], help="a role that only reads"
    )
    init.set_defaults(action=_init)
    status = actions.add_parser("status", help="say how far it is behind, and how large it is")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(action=_status)
    backfill = actions.add_parser("backfill", help="write all hours that the store holds")
    backfill.set_defaults(action=_backfill)
    verify = actions.add_parser("verify", help="compare the archive with the store")
    verify.set_defaults(action=_verify)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the subcommand.

    Raises:
        ConfigError: no archive is configured, or there is no store.
        ArchiveUnavailable, ArchiveError: the database does not answer, or lacks something.
        StoreUnavailable: the store does not answer.
    """
    action: Action = arguments.action
    return asyncio.run(action(arguments, settings))


async def _init(arguments: argparse.Namespace, settings: Settings) -> int:
    open_archive(settings)  # says what is wrong with the setting
    module = load_archive("init")
    url, roles = settings.archive_url, (arguments.writer, arguments.reader)
    if arguments.dry_run:
        print("\n".join(await module.describe_changes(url, *roles)))
        return 0
    steps = await module.initialize(url, *roles)
    for step in steps:
        print_err(f"Applied {step.number}: {step.name}.")
    if not steps:
        print_err("The schema is up to date.")
    for role in arguments.writer + arguments.reader:
        print_err(f"Granted rights to {role}.")
    return 0


async def _status(arguments: argparse.Namespace, settings: Settings) -> int:
    database = open_archive(settings)
    try:
        report = await load_archive("status_report").read_report(database)
        async with open_store(settings) as store:
            hours = build_tiers(settings)[-1]
            archiver = build_archiver(settings, store, database, hours, time.time)
            progress, backlog = await archiver.progress(), await archiver.backlog()
            identity = await store.identity()
    finally:
        await database.close()
    if arguments.json:
        print(json.dumps(_public_fields(report, progress, backlog), indent=2))
        return 0
    print(f"PostgreSQL {report.server}, schema {report.version}")
    until = format_minute(progress.archived_until_s)
    remark = "" if identity.id in report.archived_until_s else " (nothing yet of this store)"
    print(f"Archived until {until} UTC{remark}: {backlog.hours} closed hours behind, ", end="")
    print(f"{backlog.changes} changed hours to write again")
    print_table(
        ("TABLE", "PARTITIONS", "FROM", "TO", "ROWS", "SIZE"),
        [
            (
                *(table.name, str(table.partitions), _day(table.first), _day(table.last)),
                *(f"{table.rows:,}", format_bytes(table.bytes)),
            )
            for table in report.tables
        ],
    )
    return 0


def _public_fields(report: Any, progress: Any, backlog: Any) -> dict[str, Any]:
    return {
        "server": report.server,
        "schema": report.version,
        "archived_until": progress.archived_until_s,
        "hours_behind": backlog.hours,
        "changed_hours": backlog.changes,
        "tables": [table._asdict() for table in report.tables],
    }


def _day(suffix: str) -> str:
    return f"{suffix[:4]}-{suffix[4:6]}-{suffix[6:]}" if suffix else "-"


async def _backfill(arguments: argparse.Namespace, settings: Settings) -> int:
    database = open_archive(settings)
    hours = rows = 0
    try:
        async with open_store(settings) as store:
            archiver = build_archiver(
                settings, store, database, build_tiers(settings)[-1], time.time
            )
            progress = ProgressLine()
            async for start_s, row_count in archiver.backfill():
                hours += 1
                rows += row_count
                progress.show(f"{format_minute(start_s)} UTC, {rows:,} rows written")
            progress.clear()
    finally:
        await database.close()
    print_err(f"{hours:,} hours looked at, {rows:,} rows of hours written.")
    return 0


async def _verify(arguments: argparse.Namespace, settings: Settings) -> int:
    database = open_archive(settings)
    equal = noted = 0
    differences = []
    try:
        async with open_store(settings) as store:
            verification = load_archive("verification").Verification(
                store,
                database,
                hours=build_tiers(settings)[-1],
                limits=settings.limits,
                clock=time.time,
            )
            progress = ProgressLine()
            async for day in verification.compare():
                equal += day.equal_hours
                noted += day.waiting_hours
                differences += day.differences
                progress.show(f"{day.app} {format_minute(day.start_s)} UTC, {equal:,} hours equal")
            progress.clear()
    finally:
        await database.close()
    for app, start_s, problem in differences[:DIFFERENCES_MAX]:
        print(f"{app} {format_minute(start_s)} UTC {problem}")
    if len(differences) > DIFFERENCES_MAX:
        print(f"and {len(differences) - DIFFERENCES_MAX:,} more")
    print_err(
        f"{equal:,} hours are equal, {noted:,} changed lately and are not written again yet, "
        f"{len(differences):,} differ."
    )
    return 1 if differences else 0
