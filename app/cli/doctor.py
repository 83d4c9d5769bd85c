"""`dynometer doctor`: checks an installation, and says how to fix each problem in one line.

It checks settings, address, certificates, disk, store, folding, apps, drains and alert channels,
and sends a marked batch through the whole path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2

from app.access.access_notes import loss_notice
from app.access.drain_registry import DRAIN_SILENT_S
from app.access.drain_status import drain_statuses, second_drains
from app.access.rejected_logins import recent_rejected_logins
from app.alerting.channels.channel import unpack_health
from app.alerting.channels.kinds import KINDS
from app.alerting.self_monitoring import ServiceStateReader
from app.cli.open_store import open_store
from app.cli.output import format_bytes, format_minute
from app.config import ConfigError, Settings, unknown_settings
from app.folding.fold_worker import FOLD_HEARTBEAT_PREFIX
from app.folding.memory_pressure import SHED_AT, WARN_AT
from app.ingest.drain_loop import loop_notice, looping_apps
from app.ingest.spool import Spool
from app.judgement.verdict import Verdict
from app.monitoring.clock_watch import published_jumps
from app.monitoring.self_test import LINES, SelfTestFailed, SelfTestStore, run_self_test
from app.receivers.tls import expires_s, not_after_s
from app.service.archive_extra import load_archive, open_archive
from app.service.kafka_extra import load_kafka
from app.storage.append_only_file import damaged_parts
from app.storage.interface.access import AccessReader
from app.storage.interface.alerts import AlertReader, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.identity import IdentifiedStore
from app.storage.interface.server import ServerStatus
from app.storage.interface.status import StatusReader
from app.storage.interface.store import StoreReader
from app.support.about import command
from app.support.compiled import COMPILED, FORM, PURE
from app.support.disk import why_ephemeral
from app.support.errors import UserError
from app.support.tls_errors import tls_problem
from app.verdicts.verdict_reader import current_verdicts

ROTATION_LONG_S = 24 * 3600
FOLDING_LATE_S = 180  # three sweeps
BACKLOG_HIGH = 1_000  # batches of one app
REJECTED_WITHIN_S = 3600
CERTIFICATE_ENDS_SOON_S = 14 * 86_400  # automatic renewal happens earlier
CLOCK_DIFFERENCE_S_MAX = 2.0
STORE_SLOW_S = 0.05  # each batch waits for the store
ANSWER_WITHIN_S = 10.0
_SERVER_INFO_ROUND_TRIPS = 3
ARCHIVE_STATUS = "archive"  # the status record of app.archive.plugin
_MEBIBYTE = 2**20


class CheckResult(NamedTuple):
    """The result of a check. `ok`: no action is needed."""

    ok: bool
    about: str
    text: str
    app: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --app and --json."""
    parser.add_argument("--app", metavar="APP", help="leave out findings about other apps")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Return 0 if all is well, 1 if there is a problem.

    Raises:
        ConfigError: there is no store.
    """
    findings = asyncio.run(examine(settings, arguments.app))
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'WARN'}  {finding.about:<8}  {finding.text}")
    return 0 if all(finding.ok for finding in findings) else 1


async def examine(settings: Settings, app: str | None = None) -> list[CheckResult]:
    """The results of all checks; findings about apps only for `app`, if given."""
    findings = [*_settings(settings), _hot_paths(), *_certificate(settings)]
    findings += [finding async for finding in _public_address(settings)]
    findings += await asyncio.to_thread(lambda: [*_disk(settings), *_kafka(settings)])
    findings += await _archive_database(settings)
    async with open_store(settings) as store:
        now_s = time.time()
        try:
            findings += [CheckResult(False, "store", text) for text in await store.warnings()]
            for check in (
                _store,
                _identity,
                _loss,
                _clock,
                _folding,
                _self_test,
                _apps,
                _drains,
                _alerts,
                _archive,
            ):
                findings += [
                    finding
                    async for finding in check(store, now_s)
                    if not app or _concerns(finding, app)
                ]
        except StoreUnavailable as error:
            findings.append(CheckResult(False, "store", str(error)))
    return findings


def _concerns(finding: CheckResult, app: str) -> bool:
    return finding.about not in ("apps", "drains") or finding.app in ("", app)


def _settings(settings: Settings) -> Iterator[CheckResult]:
    for warning in unknown_settings(os.environ):
        yield CheckResult(False, "settings", warning)
    if settings.local_mode:
        yield CheckResult(
            True,
            "access",
            "local mode: only this machine may connect. For Heroku, set DYNOMETER_ADMIN_TOKEN and "
            "DYNOMETER_PUBLIC_URL",
        )
    elif not settings.public_url:
        yield CheckResult(
            False,
            "access",
            "DYNOMETER_PUBLIC_URL is not set, so 'drains add' does not know the drain's address: "
            "set it to the https address at which Heroku reaches the service",
        )
    elif not settings.public_url.startswith("https:"):
        yield CheckResult(
            False,
            "access",
            "DYNOMETER_PUBLIC_URL is not https, so secrets and logs are unencrypted: use https",
        )
    else:
        yield CheckResult(True, "access", f"token mode, reached at {settings.public_url}")


def _certificate(settings: Settings) -> Iterator[CheckResult]:
    if settings.tls_cert:
        try:
            yield _ends(f"the certificate {settings.tls_cert}", expires_s(Path(settings.tls_cert)))
        except ConfigError as error:
            yield CheckResult(False, "tls", str(error))


def _ends(certificate: str, end_s: float) -> CheckResult:
    is_soon = end_s - time.time() < CERTIFICATE_ENDS_SOON_S
    verb = "expired on" if end_s < time.time() else "is valid until"
    return CheckResult(
        not is_soon,
        "tls",
        f"{certificate} {verb} {format_minute(int(end_s))} UTC"
        + (
            ": renew it, and reload the server that uses it (Dynometer: kill -HUP)"
            if is_soon
            else ""
        ),
    )


async def _public_address(settings: Settings) -> AsyncIterator[CheckResult]:
    """Check whether the public address leads to this service, as Heroku needs it to."""
    if not settings.public_url:
        return
    url = f"{settings.public_url}/healthz"
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_WITHIN_S) as client:
            answer = await client.get(url)
    except httpx2.HTTPError as error:
        reason = tls_problem(error) or str(error) or type(error).__name__
        yield CheckResult(
            False,
            "access",
            f"{url} cannot be reached from here ({reason}), and Heroku must "
            "reach it: check the host name, the certificate, and that the service runs",
        )
        return
    if answer.text != "ok\n":
        yield CheckResult(
            False,
            "access",
            f"{url} answers {answer.status_code}, which is not this service's answer: check "
            "DYNOMETER_PUBLIC_URL and the proxy",
        )
    tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
    if tls is not None and (certificate := tls.getpeercert(binary_form=True)):
        yield _ends(f"the certificate at {settings.public_url}", not_after_s(certificate))


def _hot_paths() -> CheckResult:
    if COMPILED or os.environ.get(PURE) == "1":
        return CheckResult(True, "path", FORM)
    return CheckResult(
        True,
        "path",
        f"{FORM}: to compile the hot paths, install gcc and python3-dev, then run 'make install'",
    )


def _kafka(settings: Settings) -> Iterator[CheckResult]:
    for ok, text in load_kafka("app.kafka.checks").findings(settings) if settings.kafka else ():
        yield CheckResult(ok, "kafka", text)


def _disk(settings: Settings) -> Iterator[CheckResult]:
    if not settings.spool_bytes_max:
        yield CheckResult(
            True, "spool", "off (DYNOMETER_SPOOL_MAX_BYTES=0): an outage of the store loses lines"
        )
        return
    directory = settings.data_dir
    if not os.access(directory if directory.exists() else directory.parent, os.W_OK):
        yield CheckResult(False, "spool", f"cannot write to {directory}: change DYNOMETER_DATA_DIR")
        return
    spool = Spool(settings.spool_dir, bytes_max=settings.spool_bytes_max, clock=time.time)
    queue = spool.status()
    usage = f"{queue.bytes / _MEBIBYTE:.1f} MiB of {settings.spool_bytes_max / _MEBIBYTE:.0f}"
    if queue.bytes:
        yield CheckResult(
            False,
            "spool",
            f"{usage} wait on disk: the store is or was unavailable; see the store's findings",
        )
    else:
        yield CheckResult(True, "spool", f"empty ({usage})")
    for part in damaged_parts(directory):
        yield CheckResult(False, "store", str(part))
    free = shutil.disk_usage(_existing(directory)).free
    if free < settings.spool_bytes_max - queue.bytes:
        yield CheckResult(
            False,
            "spool",
            f"only {free // _MEBIBYTE} MiB are free in {directory}, less than the spool may use: "
            "free some space, or lower DYNOMETER_SPOOL_MAX_BYTES",
        )
    if reason := why_ephemeral(directory, os.environ):
        yield CheckResult(
            True, "spool", f"{directory} is {reason}: spooled batches do not survive a restart"
        )


def _existing(path: Path) -> Path:
    path = path.resolve()
    return path if path.exists() else _existing(path.parent)


async def _store(store: ServerStatus, now_s: float) -> AsyncIterator[CheckResult]:
    problems = await store.problems()  # connects too, so that the next call can be timed
    began_s = time.perf_counter()
    info = await store.server_info()
    latency_s = (time.perf_counter() - began_s) / _SERVER_INFO_ROUND_TRIPS
    if latency_s > STORE_SLOW_S:
        yield CheckResult(
            False,
            "store",
            f"answers in {latency_s * 1000:.0f} ms, and each batch waits for it: check its load "
            "and the network",
        )
    difference_s = abs(info.time_s - time.time()) if info.time_s else 0.0
    if difference_s > CLOCK_DIFFERENCE_S_MAX:
        yield CheckResult(
            False,
            "clock",
            f"the clocks of this machine and of the store differ by {difference_s:.0f} s, so lines "
            "may count as too new or too old: synchronize both with NTP (timedatectl)",
        )
    for problem in problems:
        yield CheckResult(False, "store", problem)
    usage = f"{info.bytes_used / _MEBIBYTE:.1f} MiB used"
    if info.bytes_max:
        usage += f" of {info.bytes_max / _MEBIBYTE:.0f}"
    if info.bytes_max and info.bytes_used > WARN_AT * info.bytes_max:
        yield CheckResult(
            False,
            "store",
            f"{info.server}: {usage}. Raise maxmemory, or shorten the retention "
            f"(DYNOMETER_RETENTION_*): above {SHED_AT:.0%} the oldest minutes are dropped",
        )
    else:
        latency = f"answers in {latency_s * 1000:.1f} ms"
        yield CheckResult(True, "store", f"{info.server}: {usage}, {latency}")
    if info.persistence:  # else a warning of the store says so
        yield CheckResult(True, "store", f"keeps data over a restart: {info.persistence}")


async def _archive_database(settings: Settings) -> list[CheckResult]:
    """Check that the archive can be reached, and has the right schema."""
    if not settings.archive_url:
        return []
    try:
        database = open_archive(settings)
        try:
            report = await load_archive("status_report").read_report(database)
        finally:
            await database.close()
    except UserError as error:
        return [CheckResult(False, "archive", str(error))]
    size = sum(table.bytes for table in report.tables)
    text = f"PostgreSQL {report.server}, schema {report.version}, {format_bytes(size)}"
    return [CheckResult(True, "archive", text)]


async def _archive(store: StatusReader, now_s: float) -> AsyncIterator[CheckResult]:
    """Report how far the archive is behind, as the worker that writes it published."""
    fields = (await store.statuses()).get(ARCHIVE_STATUS)
    if not fields:
        return
    until = format_minute(int(fields["archived_until_s"]))
    text = f"archived until {until} UTC, {fields['hours']} closed hours behind"
    if fields["error"]:
        text += f": {fields['error']}"
    yield CheckResult(not fields["error"] and int(fields["hours"]) < 3, "archive", text)


async def _identity(store: IdentifiedStore, now_s: float) -> AsyncIterator[CheckResult]:
    identity = await store.identity()
    since = format_minute(identity.epoch_s)
    yield CheckResult(True, "store", f"id {identity.id}, in use since {since} UTC")


async def _loss(store: AccessReader, now_s: float) -> AsyncIterator[CheckResult]:
    if notice := await loss_notice(store):
        yield CheckResult(False, "store", notice)


async def _clock(store: StatusReader, now_s: float) -> AsyncIterator[CheckResult]:
    for notice in published_jumps(await store.statuses()):
        yield CheckResult(False, "clock", notice)


async def _folding(store: ServiceStateReader, now_s: float) -> AsyncIterator[CheckResult]:
    heartbeats = {
        name: beat
        for name, beat in (await store.statuses()).items()
        if name.startswith(FOLD_HEARTBEAT_PREFIX)
        and now_s - int(beat["checked_s"]) < FOLDING_LATE_S
    }
    latest_s = max((int(beat["last_success_s"]) for beat in heartbeats.values()), default=0)
    backlog = await store.inbox_lengths([sighting.app for sighting in await store.seen_apps()])
    longest = max(backlog.values(), default=0)
    errors = sorted({beat["error"] for beat in heartbeats.values() if beat["error"]})
    for error in errors:
        yield CheckResult(False, "folding", error)
    if not heartbeats:
        yield CheckResult(
            False, "folding", f"no fold worker is running: start the service ({command()} serve)"
        )
    elif now_s - latest_s > FOLDING_LATE_S:
        last_fold = f"since {format_minute(latest_s)} UTC" if latest_s else "yet"
        yield CheckResult(
            False,
            "folding",
            f"nothing was folded {last_fold}. Check the service's log",
        )
    elif longest > BACKLOG_HIGH:
        yield CheckResult(
            False,
            "folding",
            f"{longest} batches of one app wait: add a fold worker ({command()} fold)",
        )
    elif not errors:
        batches = _plural(sum(backlog.values()), "batch")
        yield CheckResult(
            True, "folding", f"{_plural(len(heartbeats), 'worker')}, {batches} waiting"
        )


async def _self_test(store: SelfTestStore, now_s: float) -> AsyncIterator[CheckResult]:
    try:
        await run_self_test(store, now_s)
    except SelfTestFailed as error:
        yield CheckResult(
            False,
            "batch",
            f"the test with a marked batch failed: {error}. This is a defect, please report it",
        )
    else:
        yield CheckResult(True, "batch", f"{LINES} marked lines sent through, each counted once")


async def _apps(store: StoreReader, now_s: float) -> AsyncIterator[CheckResult]:
    seen_apps = await store.seen_apps()
    silent_apps = (await store.drains()).keys() - {sighting.app for sighting in seen_apps}
    for app in sorted(silent_apps):
        yield CheckResult(
            False,
            "apps",
            f"{app}: nothing received yet. Check that heroku drains -a {app} lists our address, "
            "and see rejected logins below",
            app,
        )
    drained_apps = [sighting for sighting in seen_apps if sighting.origin.is_drain]
    verdicts = await current_verdicts(store, drained_apps, now_s)
    for sighting in drained_apps:
        if problem := describe_missing_lines(sighting, verdicts[sighting.app], now_s):
            yield CheckResult(False, "apps", f"{sighting.app}: {problem}", sighting.app)
    for app in await looping_apps(store):
        yield CheckResult(False, "apps", loop_notice(app), app)
    if seen_apps:
        others = len(seen_apps) - len(drained_apps)
        remark = f", {others} of them only replayed or simulated" if others else ""
        yield CheckResult(True, "apps", f"{_plural(len(seen_apps), 'app')} seen{remark}")


def describe_missing_lines(sighting: SeenApp, verdict: Verdict, now_s: float) -> str:
    """Name the lines that an app does not send, since when, and the fix.

    "" if all arrive, and for an app that is idle: none are expected of it, unless it is too new to
    say so. Enabling runtime metrics restarts an app, so that is advised only if it never sent any.
    """
    app, metrics_s = sighting.app, sighting.runtime_metrics_s
    silent_since_s = sighting.last_seen_s
    is_new = any(finding.reason == "new" for finding in verdict.findings)
    if verdict.state == "silent" or (verdict.state == "idle" and is_new):
        metrics = f" (memory and load until {format_minute(metrics_s)} UTC)" if metrics_s else ""
        return (
            f"silent since {format_minute(silent_since_s)} UTC{metrics}. Check that dynos run "
            f"(heroku ps -a {app}) and that heroku drains -a {app} lists our address"
        )
    if verdict.state == "idle":
        return ""
    if not metrics_s:
        return (
            "has not sent memory and load yet. If heroku labs -a "
            f"{app} shows log-runtime-metrics as off: heroku labs:enable log-runtime-metrics "
            f"-a {app}; heroku restart -a {app}"
        )
    if now_s - metrics_s > DRAIN_SILENT_S:
        return (
            f"no memory and load since {format_minute(metrics_s)} UTC, but other lines until "
            f"{format_minute(silent_since_s)} UTC. It had log-runtime-metrics, so check that dynos "
            f"run (heroku ps -a {app}), and only then that it is still on (heroku labs -a {app})"
        )
    return ""


async def _drains(store: StoreReader, now_s: float) -> AsyncIterator[CheckResult]:
    statuses = await drain_statuses(store)
    for drain in second_drains(statuses, now_s):
        yield CheckResult(False, "drains", drain.second_drain_notice, drain.app)
    for drain in statuses:
        if drain.is_rotating and now_s - drain.secrets[-1].added_s > ROTATION_LONG_S:
            yield CheckResult(
                False,
                "drains",
                f"{drain.app}: its new secret of {format_minute(drain.secrets[-1].added_s)} UTC "
                "was never used: run the drains:add command that came with it, or "
                f"{command()} drains rotate {drain.app} again",
                drain.app,
            )
    for login in await recent_rejected_logins(store):
        if now_s - login.last_s < REJECTED_WITHIN_S:
            label, unit = ("HOSTNAME", "line") if login.is_unlisted else ("drain", "login")
            token = f", {label} {login.token}" if login.token else ""
            yield CheckResult(
                False,
                "drains",
                f"{_plural(login.count, unit)} rejected, last {format_minute(login.last_s)} "
                f"UTC: {login.user or 'not an app name'}, {login.reason}{token}",
                login.user,
            )
    if statuses:
        senders = sum(bool(drain.secrets) for drain in statuses)
        yield CheckResult(True, "drains", f"{_plural(senders, 'app')} may send")


async def _alerts(store: AlertReader, now_s: float) -> AsyncIterator[CheckResult]:
    channels, healths = await store.alert_tables(AlertTable.CHANNELS, AlertTable.HEALTH)
    if not channels:
        yield CheckResult(
            True,
            "alerts",
            f"no channel: {command()} alerts channel add {'|'.join(KINDS)} ADDRESS",
        )
        return
    for name in channels:
        health = unpack_health(healths.get(name))
        if health.failing_since_s:
            yield CheckResult(
                False,
                "alerts",
                f"{name} has been failing since {format_minute(health.failing_since_s)} UTC: "
                f"{health.error}. Try it: {command()} alerts test",
            )
    yield CheckResult(True, "alerts", _plural(len(channels), "channel"))


def _plural(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
