"""`dynometer doctor`: looks at settings, address, certificates, disk, store, folding, apps and
drains, and sends a marked batch through; for whatever is not well, one line says what to do.
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

import httpx2

from app.access.drain_registry import DRAIN_SILENT_S
from app.access.drain_status import drain_statuses, second_drains
from app.access.rejected_logins import recent_rejected_logins
from app.alerting.channels.channel import unpack_health
from app.cli.open_store import open_store
from app.cli.self_test import LINES, SelfTestFailed, run_self_test
from app.config import ConfigError, Settings, unknown_settings
from app.folding.memory_pressure import SHED_AT, WARN_AT
from app.ingest.drain_loop import loop_notice, looping_apps
from app.ingest.spool import Spool
from app.receivers.tls import expires_s, not_after_s
from app.service.kafka_extra import load_kafka
from app.storage.alert_interface import AlertTable
from app.storage.interface import FOLD_HEARTBEAT_PREFIX, Store, StoreUnavailable
from app.support.about import command
from app.support.compiled import COMPILED, FORM, PURE
from app.support.process import why_ephemeral

ROTATION_LONG_S = 24 * 3600
FOLDING_LATE_S = 180  # three sweeps
BACKLOG_HIGH = 1_000  # batches of one app
REFUSED_WITHIN_S = 3600
CERTIFICATE_ENDS_SOON_S = 14 * 86_400  # whoever renews them by machine does so earlier
CLOCKS_APART_S = 2.0
STORE_SLOW_S = 0.05  # each batch waits for it
ANSWER_WITHIN_S = 10.0
_FACTS_ROUND_TRIPS = 3
_MEBIBYTE = 2**20


class Finding(NamedTuple):
    """`ok`: there is nothing to be done about it."""

    ok: bool
    about: str
    text: str
    app: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--app, --json."""
    parser.add_argument("--app", metavar="APP", help="of apps and drains, only what is about APP")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command: 0 when all is well, 1 when something is to be done.

    Raises:
        ConfigError: no store is known.
    """
    findings = asyncio.run(examine(settings, arguments.app))
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.about:<8}  {finding.text}")
    return 0 if all(finding.ok for finding in findings) else 1


async def examine(settings: Settings, app: str | None = None) -> list[Finding]:
    """Everything that is found, what is well too; of apps, only about `app` if one is named."""
    findings = [*_settings(settings), _form(), *_certificate(settings)]
    findings += [finding async for finding in _reached(settings)]
    findings += await asyncio.to_thread(lambda: [*_disk(settings), *_log(settings)])
    async with open_store(settings) as store:
        now_s = time.time()
        try:
            findings += [Finding(False, "store", advice) for advice in await store.warnings()]
            for look in (_store, _folding, _through, _apps, _drains, _alerts):
                findings += [
                    each async for each in look(store, now_s) if not app or _is_about(each, app)
                ]
        except StoreUnavailable as error:
            findings.append(Finding(False, "store", str(error)))
    return findings


def _is_about(finding: Finding, app: str) -> bool:
    return finding.about not in ("apps", "drains") or finding.app in ("", app)


def _settings(settings: Settings) -> Iterator[Finding]:
    for unknown in unknown_settings(os.environ):
        yield Finding(False, "settings", unknown)
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


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert:
        try:
            yield _ends(f"the certificate {settings.tls_cert}", expires_s(Path(settings.tls_cert)))
        except ConfigError as error:
            yield Finding(False, "tls", str(error))


def _ends(what: str, end_s: float) -> Finding:
    soon = end_s - time.time() < CERTIFICATE_ENDS_SOON_S
    return Finding(
        not soon,
        "tls",
        f"{what} {'ended' if end_s < time.time() else 'holds until'} {_minute(int(end_s))}"
        + (": renew it, and tell who shows it (to us: kill -HUP)" if soon else ""),
    )


async def _reached(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the public address leads here, as Heroku needs it to."""
    if not settings.public_url:
        return
    url = f"{settings.public_url}/healthz"
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_WITHIN_S) as client:
            answer = await client.get(url)
    except httpx2.HTTPError as error:
        yield Finding(
            False,
            "access",
            f"{url} cannot be reached from here ({error or type(error).__name__}): Heroku must "
            "reach it; look at its name, its certificate, and whether the service runs",
        )
        return
    if answer.text != "ok\n":
        yield Finding(
            False,
            "access",
            f"{url} answers {answer.status_code}, and not as this service does: is "
            "DYNOMETER_PUBLIC_URL right, and the proxy in front?",
        )
    tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
    if tls is not None and (shown := tls.getpeercert(binary_form=True)):
        yield _ends(f"the certificate at {settings.public_url}", not_after_s(shown))


def _form() -> Finding:
    if COMPILED or os.environ.get(PURE) == "1":
        return Finding(True, "path", FORM)
    return Finding(
        True,
        "path",
        f"{FORM}: with a C compiler and Python's headers (gcc, python3-dev), 'make install' "
        "compiles the busy paths",
    )


def _log(settings: Settings) -> Iterator[Finding]:
    for ok, text in load_kafka("app.kafka.checks").findings(settings) if settings.kafka else ():
        yield Finding(ok, "kafka", text)


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
    problems = await store.problems()  # and connects
    began_s = time.perf_counter()
    facts = await store.server_info()
    took_s = (time.perf_counter() - began_s) / _FACTS_ROUND_TRIPS
    if took_s > STORE_SLOW_S:
        yield Finding(
            False,
            "store",
            f"answers in {took_s * 1000:.0f} ms: each batch waits for it; is it far, or busy?",
        )
    if facts.time_s and abs(facts.time_s - time.time()) > CLOCKS_APART_S:
        yield Finding(
            False,
            "clock",
            f"this machine's clock and the store's are {abs(facts.time_s - time.time()):.0f} s "
            "apart: lines may seem too new or too old; have both set by NTP (timedatectl)",
        )
    for problem in problems:
        yield Finding(False, "store", problem)
    used = f"{facts.bytes_used / _MEBIBYTE:.1f} MiB used"
    of = f" of {facts.bytes_max / _MEBIBYTE:.0f}" if facts.bytes_max else ""
    if facts.bytes_max and facts.bytes_used > WARN_AT * facts.bytes_max:
        yield Finding(
            False,
            "store",
            f"{facts.server}: {used}{of}. Raise its maxmemory, or keep data for less time "
            f"(DYNOMETER_RETENTION_*): above {SHED_AT:.0%} the oldest minutes are dropped",
        )
    else:
        answers = f"answers in {took_s * 1000:.1f} ms"
        yield Finding(True, "store", f"{facts.server}: {used}{of}, {answers}")
    if facts.persistence:
        yield Finding(True, "store", f"keeps data over a restart: {facts.persistence}")
    else:
        yield Finding(
            False, "store", "loses everything when it restarts: CONFIG SET appendonly yes"
        )


async def _folding(store: Store, now_s: float) -> AsyncIterator[Finding]:
    heartbeats = {
        name: beat
        for name, beat in (await store.heartbeats()).items()
        if name.startswith(FOLD_HEARTBEAT_PREFIX)
        and now_s - int(beat["checked_s"]) < FOLDING_LATE_S
    }
    latest_s = max((int(beat["last_success_s"]) for beat in heartbeats.values()), default=0)
    backlog = await store.inbox_lengths([seen.app for seen in await store.seen_apps()])
    longest = max(backlog.values(), default=0)
    errors = sorted({beat["error"] for beat in heartbeats.values() if beat["error"]})
    for error in errors:
        yield Finding(False, "folding", error)
    if not heartbeats:
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
            f"{_many(len(heartbeats), 'worker')}, {_many(sum(backlog.values()), 'batch')} wait",
        )


async def _through(store: Store, now_s: float) -> AsyncIterator[Finding]:
    try:
        await run_self_test(store, now_s)
    except SelfTestFailed as error:
        yield Finding(
            False,
            "batch",
            f"a marked batch was sent through, and {error}: this is a defect, please report it",
        )
    else:
        yield Finding(True, "batch", f"{LINES} marked lines went through: each counted once")


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
            app,
        )
    for each in seen:
        if now_s - each.last_seen_s > DRAIN_SILENT_S:
            silent = f"{each.app}: silent since {_minute(each.last_seen_s)}"
            yield Finding(False, "apps", silent, each.app)
        elif now_s - each.runtime_metrics_s > DRAIN_SILENT_S:
            yield Finding(
                False,
                "apps",
                f"{each.app}: no memory and load. heroku labs:enable log-runtime-metrics "
                f"-a {each.app}; heroku restart -a {each.app}",
                each.app,
            )
    for app in await looping_apps(store):
        yield Finding(False, "apps", loop_notice(app), app)
    if seen:
        yield Finding(True, "apps", f"{len(seen)} heard from")


async def _drains(store: Store, now_s: float) -> AsyncIterator[Finding]:
    infos = await drain_statuses(store)
    for info in second_drains(infos, now_s):
        yield Finding(False, "drains", info.second_drain_notice, info.app)
    for info in infos:
        if info.is_rotating and now_s - info.secrets[-1].added_s > ROTATION_LONG_S:
            yield Finding(
                False,
                "drains",
                f"{info.app}: its new secret of {_minute(info.secrets[-1].added_s)} was never "
                f"used: run the drains:add it came with, or again {command()} drains rotate "
                f"{info.app}",
                info.app,
            )
    for refusal in await recent_rejected_logins(store):
        if now_s - refusal.last_s < REFUSED_WITHIN_S:
            yield Finding(
                False,
                "drains",
                f"{_many(refusal.count, 'log-in')} refused, last {_minute(refusal.last_s)}: "
                f"{refusal.user or 'no name of an app'}, {refusal.reason}"
                + (f", drain {refusal.token}" if refusal.token else ""),
                refusal.user,
            )
    if infos:
        yield Finding(True, "drains", f"{sum(bool(info.secrets) for info in infos)} may send")


async def _alerts(store: Store, now_s: float) -> AsyncIterator[Finding]:
    channels, healths = await store.alert_tables(AlertTable.CHANNELS, AlertTable.HEALTH)
    if not channels:
        yield Finding(
            True,
            "alerts",
            f"nobody is told: {command()} alerts channel add slack|webhook|email ADDRESS",
        )
        return
    for name in channels:
        health = unpack_health(healths.get(name))
        if health.failing_since_s:
            yield Finding(
                False,
                "alerts",
                f"{name} has taken nothing since {_minute(health.failing_since_s)}: "
                f"{health.error}. Try it: {command()} alerts test",
            )
    yield Finding(True, "alerts", f"{_many(len(channels), 'channel')}")


def _many(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def _minute(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC" if at_s else "ever"
