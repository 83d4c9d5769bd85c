"""`dynometer doctor`: looks at settings, store, disk, folding, apps and drains; for whatever is not
well, one line says what to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app.config import Settings, unknown_settings
from app.disk import why_ephemeral
from app.drain_info import drain_infos, second_drains
from app.launcher import command
from app.refusals import last_refusals
from app.registry import DRAIN_SILENT_S
from app.spool import Spool
from app.store.port import FOLDING, Store, StoreUnavailable
from app.store_of import store_of

MEMORY_HIGH = 0.8
ROTATION_LONG_S = 24 * 3600
FOLDING_LATE_S = 180  # three sweeps
BACKLOG_HIGH = 1_000  # batches of one app
REFUSED_WITHIN_S = 3600
_MEBIBYTE = 2**20


class Finding(NamedTuple):
    """`ok`: there is nothing to be done about it."""

    ok: bool
    about: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command: 0 when all is well, 1 when something is to be done.

    Raises:
        ConfigError: no store is known.
    """
    findings = asyncio.run(examine(settings))
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.about:<8}  {finding.text}")
    return 0 if all(finding.ok for finding in findings) else 1


async def examine(settings: Settings) -> list[Finding]:
    """Everything that is found, what is well too."""
    findings = [*_settings(settings), *await asyncio.to_thread(lambda: list(_disk(settings)))]
    async with store_of(settings) as store:
        now_s = time.time()
        try:
            for look in (_store, _folding, _apps, _drains):
                findings += [finding async for finding in look(store, now_s)]
        except StoreUnavailable as error:
            findings.append(Finding(False, "store", str(error)))
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    for sentence in unknown_settings(os.environ):
        yield Finding(False, "settings", sentence)
    if settings.local_mode:
        yield Finding(
            True,
            "access",
            "local mode: only this machine is answered. For Heroku set DYNOMETER_ADMIN_TOKEN and "
            "DYNOMETER_PUBLIC_URL",
        )
    elif not settings.public_url:
        yield Finding(
            False,
            "access",
            "DYNOMETER_PUBLIC_URL is not set: 'drains add' cannot say where Heroku is to send",
        )
    elif not settings.public_url.startswith("https:"):
        yield Finding(
            False,
            "access",
            "DYNOMETER_PUBLIC_URL is not https: secrets and logs would cross the network in clear",
        )
    else:
        yield Finding(True, "access", f"token mode, reached at {settings.public_url}")


def _disk(settings: Settings) -> Iterator[Finding]:
    if not settings.spool_bytes_max:
        yield Finding(
            True, "spool", "none (DYNOMETER_SPOOL_MAX_BYTES=0): an absence of the store costs lines"
        )
        return
    directory = settings.data_dir
    if not os.access(directory if directory.exists() else directory.parent, os.W_OK):
        yield Finding(False, "spool", f"{directory} cannot be written to: see DYNOMETER_DATA_DIR")
        return
    spool = Spool(settings.spool_dir, bytes_max=settings.spool_bytes_max, clock=time.time)
    waiting = spool.status()
    room = f"{waiting.bytes / _MEBIBYTE:.1f} MiB of {settings.spool_bytes_max / _MEBIBYTE:.0f}"
    if waiting.bytes:
        yield Finding(
            False, "spool", f"{room} wait on disk: the store is or was away; see the next lines"
        )
    else:
        yield Finding(True, "spool", f"empty ({room})")
    free = shutil.disk_usage(_existing(directory)).free
    if free < settings.spool_bytes_max - waiting.bytes:
        yield Finding(
            False,
            "spool",
            f"only {free // _MEBIBYTE} MiB are free in {directory}, less than the spool may need: "
            "make room, or lower DYNOMETER_SPOOL_MAX_BYTES",
        )
    if reason := why_ephemeral(directory, os.environ):
        yield Finding(
            True, "spool", f"{directory} lies {reason}: what waits there does not survive a restart"
        )


def _existing(path: Path) -> Path:
    path = path.resolve()
    return path if path.exists() else _existing(path.parent)


async def _store(store: Store, now_s: float) -> AsyncIterator[Finding]:
    facts = await store.facts()
    for problem in await store.check():
        yield Finding(False, "store", problem)
    used = f"{facts.bytes_used / _MEBIBYTE:.1f} MiB used"
    of = f" of {facts.bytes_max / _MEBIBYTE:.0f}" if facts.bytes_max else ""
    if facts.bytes_max and facts.bytes_used > MEMORY_HIGH * facts.bytes_max:
        yield Finding(
            False,
            "store",
            f"{facts.server}: {used}{of}. Raise its maxmemory, or keep data for less time "
            "(DYNOMETER_RETENTION_*): when it is full, lines wait on disk",
        )
    else:
        yield Finding(True, "store", f"{facts.server}: {used}{of}")
    if facts.persistence:
        yield Finding(True, "store", f"keeps data over a restart: {facts.persistence}")
    else:
        yield Finding(
            False, "store", "loses everything when it restarts: CONFIG SET appendonly yes"
        )


async def _folding(store: Store, now_s: float) -> AsyncIterator[Finding]:
    beats = {
        name: beat
        for name, beat in (await store.beats()).items()
        if name.startswith(FOLDING) and now_s - int(beat["checked_s"]) < FOLDING_LATE_S
    }
    latest_s = max((int(beat["last_success_s"]) for beat in beats.values()), default=0)
    backlog = await store.inbox_lengths([seen.app for seen in await store.seen_apps()])
    longest = max(backlog.values(), default=0)
    errors = sorted({beat["error"] for beat in beats.values() if beat["error"]})
    for error in errors:
        yield Finding(False, "folding", error)
    if not beats:
        yield Finding(False, "folding", f"nobody folds: start the service ({command()} serve)")
    elif now_s - latest_s > FOLDING_LATE_S:
        yield Finding(
            False, "folding", f"nothing was folded since {_minute(latest_s)}: see the log"
        )
    elif longest > BACKLOG_HIGH:
        yield Finding(
            False,
            "folding",
            f"{longest} batches of one app wait: add a folding process ({command()} fold)",
        )
    elif not errors:
        yield Finding(
            True,
            "folding",
            f"{_many(len(beats), 'worker')}, {_many(sum(backlog.values()), 'batch')} wait",
        )


async def _apps(store: Store, now_s: float) -> AsyncIterator[Finding]:
    seen = await store.seen_apps()
    registered = await store.drains()
    known = {each.app for each in seen}
    for app in sorted(registered.keys() - known):
        yield Finding(
            False,
            "apps",
            f"{app}: nothing was ever received. heroku drains -a {app} should list our address; "
            "look below for refused log-ins",
        )
    for each in seen:
        if now_s - each.last_seen_s > DRAIN_SILENT_S:
            yield Finding(False, "apps", f"{each.app}: silent since {_minute(each.last_seen_s)}")
        elif now_s - each.runtime_metrics_s > DRAIN_SILENT_S:
            yield Finding(
                False,
                "apps",
                f"{each.app}: no memory and load. heroku labs:enable log-runtime-metrics "
                f"-a {each.app}; heroku restart -a {each.app}",
            )
    if seen:
        yield Finding(True, "apps", f"{len(seen)} heard from")


async def _drains(store: Store, now_s: float) -> AsyncIterator[Finding]:
    infos = await drain_infos(store)
    for info in second_drains(infos, now_s):
        yield Finding(False, "drains", info.doubled)
    for info in infos:
        if info.waits_for_rotation and now_s - info.secrets[-1].added_s > ROTATION_LONG_S:
            yield Finding(
                False,
                "drains",
                f"{info.app}: its new secret of {_minute(info.secrets[-1].added_s)} was never "
                f"used: run the drains:add it came with, or again {command()} drains rotate "
                f"{info.app}",
            )
    for refusal in await last_refusals(store):
        if now_s - refusal.last_s < REFUSED_WITHIN_S:
            yield Finding(
                False,
                "drains",
                f"{_many(refusal.count, 'log-in')} refused, last {_minute(refusal.last_s)}: "
                f"{refusal.user or 'no name of an app'}, {refusal.reason}"
                + (f", drain {refusal.token}" if refusal.token else ""),
            )
    if infos:
        yield Finding(True, "drains", f"{sum(bool(info.secrets) for info in infos)} may send")


def _many(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def _minute(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC" if at_s else "ever"
