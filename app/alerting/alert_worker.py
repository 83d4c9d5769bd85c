"""The background task that evaluates alert rules and delivers notifications.

Every worker runs it, but only the holder of the lease acts. The results of an evaluation and the
notifications it causes are written in one atomic step that succeeds only for the lease holder. So
each minute is evaluated exactly once, even if workers are killed at any time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from app.alerting.channels.channel import Channel, unpack_health
from app.alerting.channels.delivery import ChannelSender
from app.alerting.config import EMPTY_CONFIG, AlertConfig, read_config, unpack_readable
from app.alerting.evaluator import Evaluation, Evaluator, rules_for
from app.alerting.inhibition import NotificationPlan, select_notifications
from app.alerting.inputs import RecentChanges, RuleQueries, read_recent_changes
from app.alerting.lease import TTL_S, Lease
from app.alerting.notification import Context, Notification, compose, compose_digest
from app.alerting.outbox import Outbox, enqueue
from app.alerting.rule import SERVICE
from app.alerting.self_monitoring import SPOOLING, evaluate_service, read_service_state
from app.alerting.state import (
    AppAlerts,
    HistoryEntry,
    pack_app_alerts,
    pack_json,
    unpack_app_alerts,
)
from app.alerting.state_machine import Transition
from app.alerting.store_outage import FILE, StoreOutageNotifier
from app.alerting.wording import describe_alert, describe_resolution, utc_time
from app.query.rates import SETTLED_AFTER_S
from app.rollup.resolutions import DAY_S, MINUTE_S, Resolution, align
from app.rollup.time_range import TimeRange
from app.storage.interface.alerts import AlertChange, AlertStore, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreError
from app.storage.interface.folding import BacklogReader
from app.storage.interface.rollups import RollupReader
from app.storage.interface.status import StatusStore

log = logging.getLogger(__name__)

TICK_S = 1.0
CONFIG_EVERY_S = 5  # the operator's changes take effect within this time
# After an outage of the store, evaluation waits for other workers to report lines on their disks.
RECOVERY_S = 2 * CONFIG_EVERY_S
DIGEST_APPS = 6  # notifications about this many apps in one evaluation are merged into one
WATCHED_S = 2 * DAY_S  # apps whose last line is younger than this are evaluated
FORGOTTEN_S = 7 * DAY_S  # the state of an app that was not evaluated for this long is removed
HEARTBEAT = "alerts"  # the heartbeat of the worker that evaluates
_HEARTBEAT_TTL_MS = 600_000
_SPOOLING_TTL_MS = 30_000


class _EvaluationRound(NamedTuple):
    """The results of one evaluation of all apps, until they are committed."""

    changes: list[AlertChange]
    history: dict[str, list[bytes]]
    messages: list[Notification]


class AlertWorkerStore(RollupReader, AlertStore, BacklogReader, StatusStore, Protocol):
    """What the worker needs of the store."""


class AlertWorker:
    """Evaluates and delivers while it holds the lease, otherwise stands by."""

    def __init__(
        self,
        store: AlertWorkerStore,
        minutes: Resolution,
        *,
        clock: Callable[[], float],
        url: str,
        name: str,
        spool_since_s: Callable[[], int],
        directory: Path,
    ) -> None:
        """
        Args:
            store: holds the apps' rollups and the alerts.
            minutes: the finest resolution.
            clock: returns Unix time in seconds.
            url: the address of the pages, without a trailing slash.
            name: identifies this worker on this machine.
            spool_since_s: returns since when lines wait on this machine's disk; 0 if none do.
            directory: holds the record of notified channels while the store is unavailable.
        """
        self._store = store
        self._minutes = minutes
        self._clock = clock
        self._url = url
        self._name = f"{socket.gethostname()}-{name}"
        self._spool_since_s = spool_since_s
        self._lease = Lease(store)
        self._evaluator = Evaluator(store, minutes)
        sender = ChannelSender(clock)
        self._outbox = Outbox(store, self._lease, sender, clock, url)
        self._outage_notifier = StoreOutageNotifier(
            directory / FILE, sender, name=socket.gethostname(), url=url
        )
        self._config: AlertConfig = EMPTY_CONFIG
        self._queries: dict[tuple[str, ...], RuleQueries] = {}
        self._quiet_apps: frozenset[str] = frozenset()  # replayed or simulated: never notified
        self._config_read_s = 0.0
        self._evaluated_s = 0
        self._store_failed_s = 0.0
        self._is_spooling_published = False
        self._last_error = ""  # logged last, so that it is not repeated every second

    async def run(self) -> None:
        """Evaluate and deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._repeat(self.evaluate), name="evaluate alerts")
                tasks.create_task(self._repeat(self.deliver), name="deliver alerts")
        finally:
            self.close()
            await self._release()

    def close(self) -> None:
        """Release the lock that this process holds on this machine."""
        self._outage_notifier.close()

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self.attempt(work)
            await asyncio.sleep(TICK_S)

    async def attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` once and log its failure; the next run tries again."""
        try:
            await work()
        except StoreError as error:
            self._store_failed_s = self._clock()
            self._log_once(str(error))
        except Exception as error:  # a single failure must not end alerting
            self._log_once(f"{type(error).__name__}: {error}", error)

    def _log_once(self, problem: str, error: Exception | None = None) -> None:
        if problem != self._last_error:
            log.error("alerts are delayed and will be retried: %s", problem, exc_info=error)
        self._last_error = problem

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except StoreError as error:
            log.info("alerts: the lease was not released and expires by itself: %s", error)

    async def deliver(self) -> None:
        """Deliver the notifications that are due.

        Raises:
            StoreUnavailable
        """
        if self._lease.is_held:
            await self._outbox.deliver()

    async def evaluate(self) -> None:
        """Evaluate every minute that has become complete since the last evaluation.

        Raises:
            StoreUnavailable: the outage has been recorded, and reported if it is long enough.
        """
        now_s = self._clock()
        try:
            await self._evaluate_due(now_s)
        except StoreError:
            await self._outage_notifier.report_outage(now_s, self._config)
            raise

    async def _evaluate_due(self, now_s: float) -> None:
        until_s = align(int(now_s - SETTLED_AFTER_S), MINUTE_S)
        if until_s <= self._evaluated_s and abs(now_s - self._config_read_s) < CONFIG_EVERY_S:
            return
        self._config_read_s = now_s
        spooling_s = await self._publish_spooling()
        config = await read_config(self._store)
        await self._outage_notifier.report_recovery(self._store)
        if config != self._config:
            self._config, self._queries = config, {}
        if not config.is_active:
            await self._lease.release()
            return
        if not await self._lease.hold() or until_s <= self._evaluated_s:
            return
        # The clock may have moved backwards, hence both bounds.
        if self._store_failed_s <= now_s < self._store_failed_s + RECOVERY_S:
            return
        await self._evaluate(now_s, until_s, spooling_s)

    async def _publish_spooling(self) -> int:
        """Report to the other workers since when lines wait on this machine's disk."""
        since_s = self._spool_since_s()
        if since_s or self._is_spooling_published:
            name, fields = f"{SPOOLING}{self._name}", {"since_s": str(since_s)}
            await self._store.write_status(name, fields, ttl_ms=_SPOOLING_TTL_MS)
        self._is_spooling_published = bool(since_s)
        return since_s

    async def _evaluate(self, now_s: float, until_s: int, spooling_s: int) -> None:
        states, healths, channels = await self._store.alert_tables(
            AlertTable.STATES, AlertTable.HEALTH, AlertTable.CHANNELS
        )
        service = await read_service_state(
            self._store,
            now_s,
            spooling_s,
            {name: unpack_health(healths.get(name)) for name in self._config.channels},
        )
        delay_reason = ""
        complete_s = until_s
        if service.spooling_since_s:
            # Lines are a little older than their arrival, so the minute before may lack some too.
            complete_s = min(until_s, align(service.spooling_since_s, MINUTE_S) - MINUTE_S)
            delay_reason = f"lines since {utc_time(service.spooling_since_s, now_s)} wait on disk"
        alerts_by_app = unpack_readable(states, unpack_app_alerts, "state of")
        orphans = healths.keys() - channels  # of removed channels
        results = _EvaluationRound(self._expired_records(alerts_by_app, orphans, now_s), {}, [])
        evaluation = evaluate_service(self._config.rules, alerts_by_app.get(SERVICE), service)
        await self._collect(results, SERVICE, evaluation, now_s)
        lease_held_s = time.monotonic()
        apps = await self._store.seen_apps()
        self._quiet_apps = frozenset(
            seen_app.app for seen_app in apps if not seen_app.origin.notifies
        )
        reachable = set(await self._store.reachable_apps([seen_app.app for seen_app in apps]))
        for seen_app in apps:
            if seen_app.app not in reachable:
                continue  # its shard is down; its minutes are evaluated after recovery
            before = alerts_by_app.get(seen_app.app)
            is_watched = now_s - seen_app.last_seen_s < WATCHED_S or (before and before.alerts)
            if is_watched and (before is None or before.evaluated_s < complete_s):
                await self._evaluate_app(results, seen_app, before, complete_s, now_s)
                await asyncio.sleep(0)
            if time.monotonic() - lease_held_s > TTL_S / 3:
                lease_held_s = time.monotonic()
                if not await self._lease.hold():
                    return
        if await self._commit(results, now_s):
            self._evaluated_s = complete_s
            self._last_error = ""
            await self._publish_progress(complete_s, delay_reason)

    async def _evaluate_app(
        self,
        results: _EvaluationRound,
        seen_app: SeenApp,
        before: AppAlerts | None,
        until_s: int,
        now_s: float,
    ) -> None:
        app = seen_app.app
        queries = self._queries_for(app)
        if not queries.rules:
            return
        try:
            evaluation = await self._evaluator.evaluate(seen_app, before, queries, until_s, now_s)
            await self._collect(results, app, evaluation, now_s)
        except StoreError:
            raise
        except Exception as error:  # a failure for one app must not silence the others
            self._log_once(f"{app} cannot be evaluated: {type(error).__name__}: {error}", error)

    def _expired_records(
        self, alerts_by_app: Mapping[str, AppAlerts], healths: Iterable[str], now_s: float
    ) -> list[AlertChange]:
        """Remove the state of apps that are no longer evaluated, mutes that ended, and these
        healths.
        """
        states = [
            app for app, alerts in alerts_by_app.items() if now_s - alerts.evaluated_s > FORGOTTEN_S
        ]
        mutes = [app for app, mute in self._config.mutes.items() if mute.until_s <= now_s]
        return [
            *(AlertChange(AlertTable.STATES, app, b"") for app in states),
            *(AlertChange(AlertTable.MUTES, app, b"") for app in mutes),
            *(AlertChange(AlertTable.HEALTH, name, b"") for name in healths),
        ]

    def _queries_for(self, app: str) -> RuleQueries:
        rules = rules_for(app, self._config.rules)
        names = tuple(rule.name for rule in rules)
        if names not in self._queries:
            self._queries[names] = RuleQueries(rules)
        return self._queries[names]

    async def _collect(
        self, results: _EvaluationRound, app: str, evaluation: Evaluation, now_s: float
    ) -> None:
        """Add the state, history and notification of one app to the round."""
        config = self._config
        plan = select_notifications(
            evaluation.state,
            config.rules,
            lambda rule: (
                app in self._quiet_apps
                or config.is_muted(app, now_s)
                or not self._has_channel_for(app, rule)
            ),
        )
        notified_ids = {alert.id for alert in plan.new_alerts}
        entries = [
            self._history_entry(transition, now_s, notified_ids)
            for transition in evaluation.transitions
        ]
        if evaluation.skipped_range:
            entries.append(_skipped_entry(evaluation, now_s))
        if entries:
            results.history[app] = [pack_json(entry) for entry in entries]
        results.changes.append(AlertChange(AlertTable.STATES, app, pack_app_alerts(plan.state)))
        if plan:
            results.messages.append(await self._message(app, plan, evaluation, now_s))

    def _history_entry(
        self, transition: Transition, now_s: float, notified_ids: set[str]
    ) -> HistoryEntry:
        alert, rule = transition.alert, self._config.rules.get(transition.alert.rule)
        if transition.kind == "fired":
            text, value = describe_alert(alert, rule), alert.value
        else:
            text, value = describe_resolution(alert, rule, now_s), alert.worst
        return HistoryEntry(
            at_s=int(now_s),
            what=transition.kind,
            text=text,
            rule=alert.rule,
            key=alert.key,
            since_s=alert.since_s,
            value=value,
            limit=alert.limit,
            severity=rule.severity if rule is not None else "",
            told=alert.id in notified_ids or alert.is_notified,
            id=alert.id,
        )

    async def _message(
        self, app: str, plan: NotificationPlan, evaluation: Evaluation, now_s: float
    ) -> Notification:
        recent = RecentChanges((), (0, ""))
        if plan.new_alerts and app != SERVICE:
            first_start_s = min(alert.since_s for alert in plan.new_alerts)
            recent = await read_recent_changes(
                self._store, app, first_start_s, int(now_s), self._minutes
            )
        context = Context(
            int(now_s), self._url, recent.events, recent.last_release, _notes(evaluation, now_s)
        )
        return compose(
            app, plan.new_alerts, plan.ended_alerts, plan.other_alerts, self._config.rules, context
        )

    def _has_channel_for(self, app: str, rule_name: str) -> bool:
        rule = self._config.rules.get(rule_name)
        severity = rule.severity if rule is not None else "warn"
        return any(channel.accepts(app, severity) for channel in self._config.channels.values())

    async def _commit(self, results: _EvaluationRound, now_s: float) -> bool:
        """Write the round in one step; False, and nothing written, if the lease was lost."""
        changes = list(results.changes)
        for channel in self._config.channels.values():
            for message in _messages_for(results.messages, channel, self._url):
                changes += enqueue(message, [channel], int(now_s))
        return await self._store.change_alerts(
            changes, history=results.history, lease=self._lease.token
        )

    async def _publish_progress(self, complete_s: int, delay_reason: str) -> None:
        fields = {"evaluated_s": str(complete_s), "waiting": delay_reason, "worker": self._name}
        await self._store.write_status(HEARTBEAT, fields, ttl_ms=_HEARTBEAT_TTL_MS)


def _messages_for(messages: list[Notification], channel: Channel, url: str) -> list[Notification]:
    """The notifications for one channel. Those about many apps become one digest. A channel gets
    no notifications about its own failure.
    """
    own_messages = [
        message
        for message in messages
        if channel.accepts(message.app, message.severity)
        and not all(
            item.rule == "channel-fails" and item.key == channel.name for item in message.alerts
        )
    ]
    apps = [message for message in own_messages if message.app != SERVICE]
    if len(apps) < DIGEST_APPS:
        return own_messages
    return [
        *(message for message in own_messages if message.app == SERVICE),
        compose_digest(apps, url),
    ]


def _notes(evaluation: Evaluation, now_s: float) -> tuple[str, ...]:
    notes = []
    if evaluation.late_range:
        first, last = _range_in_words(evaluation.late_range, now_s)
        notes.append(
            f"{first} to {last} was evaluated late because Dynometer or Redis was unavailable. "
            "Problems that began and ended in that time appear only in the history."
        )
    if evaluation.lines_lost:
        notes.append(
            f"Heroku lost {evaluation.lines_lost:,} lines in this time, so counts are too low."
        )
    return tuple(notes)


def _skipped_entry(evaluation: Evaluation, now_s: float) -> HistoryEntry:
    first, last = _range_in_words(evaluation.skipped_range, now_s)
    return HistoryEntry(int(now_s), "skipped", f"{first} to {last} was not evaluated: too long ago")


def _range_in_words(span: TimeRange, now_s: float) -> tuple[str, str]:
    return utc_time(span.start_s, now_s), utc_time(span.end_s, now_s)
