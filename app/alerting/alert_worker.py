"""The background task that judges apps, evaluates alert rules and delivers notifications.

Every worker runs it, but only the holder of the lease acts. Verdicts, the results of an
evaluation and the notifications it causes are written in one atomic step that succeeds only for the
lease holder. So each minute is judged and evaluated exactly once, even if workers are killed at any
time.

A minute is judged twice: EARLY_AFTER_S after its end for readers and for alerts about apps that are
down, and once all of its lines should have arrived. Only the second judgement goes on. Apps are
judged whether or not there is a channel or a rule.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from app.alerting.channels.channel import unpack_health
from app.alerting.channels.delivery import ChannelSender
from app.alerting.config import EMPTY_CONFIG, AlertConfig, read_config, unpack_readable
from app.alerting.earlier_hours import EarlierHours
from app.alerting.evaluator import CATCH_UP_MINUTES, Evaluation, Evaluator, rules_for
from app.alerting.finding_rules import early_results, is_urgent, judge_findings
from app.alerting.inhibition import NotificationPlan, select_notifications
from app.alerting.inputs import RecentChanges, RuleQueries, read_recent_changes
from app.alerting.lease import TTL_S, Lease
from app.alerting.notification import Context, Notification, compose
from app.alerting.outbox import Outbox, enqueue
from app.alerting.round import Round, Tables, expired_records, notes_about, skipped_entry
from app.alerting.rule import SERVICE
from app.alerting.self_monitoring import evaluate_service, read_service_state
from app.alerting.state import (
    HistoryEntry,
    pack_json,
    unpack_app_alerts,
)
from app.alerting.state_machine import Transition, fire_early
from app.alerting.store_outage import FILE, StoreOutageNotifier
from app.alerting.wording import describe_alert, describe_resolution, utc_time
from app.judgement.verdict import Verdict
from app.query.engine import APPS_PER_READ, list_packed
from app.query.rates import SETTLED_AFTER_S
from app.query.table import QueryRange
from app.rollup.codec import PackError
from app.rollup.resolutions import DAY_S, MINUTE_S, Resolution, align
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.alerts import AlertChange, AlertStore, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot
from app.storage.interface.errors import StoreError, without_addresses
from app.storage.interface.folding import BacklogReader
from app.storage.interface.rollups import Contents, RollupReader
from app.storage.interface.status import StatusStore
from app.verdicts.app_judges import AppJudge, AppJudges, StoredState
from app.verdicts.fleet import Fleet, find_fleet
from app.verdicts.interval_reader import observe
from app.verdicts.spooling import SPOOLING
from app.verdicts.verdict_record import (
    pack_verdict_record,
    unpack_verdict_records,
)

log = logging.getLogger(__name__)

TICK_S = 1.0  # before a failed attempt is repeated, and between attempts while messages wait
EARLY_AFTER_S = 15  # after the end of a minute, it is judged for the first time
CONFIG_EVERY_S = 5  # changes and test messages of the operator take effect within this time
# After an outage of the store, evaluation waits for other workers to report lines on their disks.
RECOVERY_S = 2 * CONFIG_EVERY_S
WATCHED_S = 2 * DAY_S  # apps whose last line is younger than this are evaluated
HEARTBEAT = "alerts"  # the heartbeat of the worker that evaluates
_HEARTBEAT_TTL_MS = 600_000
_SPOOLING_TTL_MS = 30_000


class AlertWorkerStore(RollupReader, AlertStore, BacklogReader, StatusStore, Protocol):
    """The roles of the store that the worker needs."""


class AlertWorker:
    """Evaluates and delivers while it holds the lease, otherwise stands by."""

    def __init__(
        self,
        store: AlertWorkerStore,
        tiers: Sequence[Resolution],
        earlier_hours: EarlierHours,
        *,
        clock: Callable[[], float],
        url: str,
        name: str,
        spool_since_s: Callable[[], int],
        directory: Path,
        review_apps: Sequence[str] = (),
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            store: holds the apps' rollups and the alerts.
            tiers: the stored resolutions, finest first.
            earlier_hours: the hours that rules compare with.
            clock: returns Unix time in seconds.
            url: the address of the pages, without a trailing slash.
            name: identifies this worker on this machine.
            spool_since_s: returns since when lines wait on this machine's disk; 0 if none do.
            directory: holds the record of notified channels while the store is unavailable.
            review_apps: glob patterns of apps that come and go with a pull request.
            limits: the limits on names in a minute.
        """
        self._store = store
        self._minutes = tiers[0]
        self._clock = clock
        self._url = url
        self._name = f"{socket.gethostname()}-{name}"
        self._spool_since_s = spool_since_s
        self._lease = Lease(store)
        self._limits = limits
        self._earlier_hours = earlier_hours
        self._evaluator = Evaluator(store, earlier_hours, tiers[0], limits)
        self._judges = AppJudges(store, tiers, review_apps, limits=limits)
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
        self._previewed_s = 0
        self._store_failed_s = 0.0
        self._is_spooling_published = False
        self._has_messages = asyncio.Event()  # a round wrote some
        self._last_error = ""  # logged last, so that it is not repeated every second

    async def run(self) -> None:
        """Evaluate and deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._evaluate_repeatedly(), name="evaluate alerts")
                tasks.create_task(self._deliver_repeatedly(), name="deliver alerts")
        finally:
            self.close()
            await self.release()

    def close(self) -> None:
        """Release the lock that this process holds on this machine."""
        self._outage_notifier.close()

    async def _evaluate_repeatedly(self) -> None:
        while True:
            await self.attempt(self.evaluate)
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        """How long no minute is due, but no longer than CONFIG_EVERY_S."""
        if not self._lease.is_held:
            return CONFIG_EVERY_S
        now_s = self._clock()
        early_s = self._previewed_s + MINUTE_S + EARLY_AFTER_S
        final_s = self._evaluated_s + MINUTE_S + SETTLED_AFTER_S
        config_s = self._config_read_s + CONFIG_EVERY_S
        next_s = min(early_s, final_s, config_s) - now_s
        return min(max(next_s, TICK_S), CONFIG_EVERY_S)  # also if the clock was set

    async def _deliver_repeatedly(self) -> None:
        while True:
            self._has_messages.clear()
            await self.attempt(self.deliver)
            pause_s = TICK_S if self._outbox.is_waiting else CONFIG_EVERY_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_messages.wait(), pause_s)

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

    async def release(self) -> None:
        """Let another worker take over."""
        try:
            await self._lease.release()
        except StoreError as error:
            log.info("alerts: the lease was not released and expires by itself: %s", error)

    def holds_lease(self) -> bool:
        """Whether this worker is the one that acts, as far as it knows."""
        return self._lease.is_held

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
        early_s = align(int(now_s - EARLY_AFTER_S), MINUTE_S)
        is_due = until_s > self._evaluated_s or early_s > self._previewed_s
        if not is_due and abs(now_s - self._config_read_s) < CONFIG_EVERY_S:
            return
        self._config_read_s = now_s
        spooling_s = await self._publish_spooling()
        config = await read_config(self._store)
        await self._outage_notifier.report_recovery(self._store)
        if config != self._config:
            if config.is_active and not self._config.is_active:
                self._evaluated_s = 0  # the last minute was judged, but not evaluated
            self._config, self._queries = config, {}
        if not await self._lease.hold():
            self._judges.clear()
            return
        # The clock may have moved backwards, hence both bounds.
        if self._store_failed_s <= now_s < self._store_failed_s + RECOVERY_S:
            return
        if until_s > self._evaluated_s:
            await self._evaluate(now_s, until_s, spooling_s)
        elif early_s > self._previewed_s:
            self._previewed_s = early_s
            await self._preview(now_s, early_s)

    async def _publish_spooling(self) -> int:
        """Report to the other workers since when lines wait on this machine's disk."""
        since_s = self._spool_since_s()
        if since_s or self._is_spooling_published:
            name, fields = f"{SPOOLING}{self._name}", {"since_s": str(since_s)}
            await self._store.write_status(name, fields, ttl_ms=_SPOOLING_TTL_MS)
        self._is_spooling_published = bool(since_s)
        return since_s

    # --- a round, once a minute is complete ---------------------------------------------------

    async def _evaluate(self, now_s: float, until_s: int, spooling_s: int) -> None:
        states, healths, channels, verdicts = await self._store.alert_tables(
            AlertTable.STATES, AlertTable.HEALTH, AlertTable.CHANNELS, AlertTable.VERDICTS
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
        tables = Tables(
            unpack_readable(states, unpack_app_alerts, "state of"),
            unpack_verdict_records(verdicts),
            {},
        )
        orphans = healths.keys() - channels  # of removed channels
        results = Round(expired_records(tables, orphans, now_s))
        if not await self._evaluate_apps(results, tables, complete_s, now_s):
            return
        fleet = self._find_fleet(results)
        if self._config.is_active:
            evaluation = evaluate_service(
                self._config.rules, tables.alerts.get(SERVICE), service._replace(fleet=fleet)
            )
            await self._collect(results, SERVICE, evaluation, now_s, None)
        for app, app_evaluation in results.evaluations.items():
            await self._collect(results, app, app_evaluation, now_s, fleet)
            await asyncio.sleep(0)
        # Read again, for somebody may have muted an app while all were evaluated.
        results.end_mutes((await read_config(self._store)).mutes, now_s)
        if await self._commit(results, now_s):
            self._evaluated_s = complete_s
            self._last_error = ""
            await self._publish_progress(complete_s, delay_reason)

    async def _evaluate_apps(
        self, results: Round, tables: Tables, complete_s: int, now_s: float
    ) -> bool:
        """Judge and evaluate all apps; False if the lease was lost meanwhile."""
        lease_held_s = time.monotonic()
        apps = await self._watched_apps(tables, now_s)
        self._judges.begin_round([seen_app.app for seen_app in apps])
        self._earlier_hours.begin_round()
        if any(self._judges.known(seen_app.app) is None for seen_app in apps):
            (pasts,) = await self._store.alert_tables(AlertTable.PASTS)
            tables.pasts.update(pasts)
        # An app that is known only needs to be caught up with; one that is new, a whole day.
        for seen_app in sorted(apps, key=lambda seen_app: seen_app.app not in tables.records):
            await self._evaluate_app(results, seen_app, tables, complete_s, now_s)
            await asyncio.sleep(0)
            if time.monotonic() - lease_held_s > TTL_S / 3:
                lease_held_s = time.monotonic()
                if not await self._lease.hold():
                    return False
        return await self._backfill(results, apps, now_s)

    async def _backfill(self, results: Round, apps: Sequence[SeenApp], now_s: float) -> bool:
        """Judge the past of apps that are new, as far as this round has time for it."""
        for seen_app in apps:
            judge = self._judges.known(seen_app.app)
            if judge is None or not judge.is_new or seen_app.app not in results.verdicts:
                continue
            try:
                episodes = await self._judges.backfill(seen_app, now_s)
            except PackError as error:
                self._log_once(f"the past of {seen_app.app} cannot be judged: {error}", error)
                continue
            if not judge.is_new:
                results.add_verdict(seen_app.app, judge, earlier=episodes)
                if not await self._lease.hold():
                    return False
        return True

    async def _watched_apps(self, tables: Tables, now_s: float) -> list[SeenApp]:
        """The apps to evaluate. While its shard is down, an app waits for the recovery."""
        apps = await self._store.seen_apps()
        self._quiet_apps = frozenset(
            seen_app.app for seen_app in apps if not seen_app.origin.notifies
        )
        reachable = set(await self._store.reachable_apps([seen_app.app for seen_app in apps]))
        return [
            seen_app
            for seen_app in apps
            if seen_app.app in reachable
            and (
                now_s - seen_app.last_seen_s < WATCHED_S
                or ((before := tables.alerts.get(seen_app.app)) and before.alerts)
            )
        ]

    async def _evaluate_app(
        self, results: Round, seen_app: SeenApp, tables: Tables, until_s: int, now_s: float
    ) -> None:
        app = seen_app.app
        before = tables.alerts.get(app)
        try:
            judge = await self._start_judge(seen_app, tables, until_s, now_s)
            queries = self._queries_for(app)
            if not self._config.is_active or not queries.rules:
                if judge is not None and judge.judged_until_s < until_s:
                    await self._evaluator.judge(seen_app, judge, until_s)
            elif before is None or before.evaluated_s < until_s:
                results.evaluations[app] = await self._evaluator.evaluate(
                    seen_app, before, queries, judge, until_s, now_s
                )
            if judge is not None:
                results.add_verdict(app, judge)
        except StoreError:
            self._judges.drop(app)
            raise
        except Exception as error:  # a failure for one app must not silence the others
            self._judges.drop(app)
            self._log_once(f"{app} cannot be evaluated: {type(error).__name__}: {error}", error)

    async def _start_judge(
        self, seen_app: SeenApp, tables: Tables, until_s: int, now_s: float
    ) -> AppJudge | None:
        """The judge of an app; None if others come first."""
        record = tables.records.get(seen_app.app)
        # The past of a new app is judged here, and the minutes that still deserve an alert below.
        behind_minutes = CATCH_UP_MINUTES if record else 1
        try:
            return await self._judges.ready(
                seen_app,
                StoredState(record, tables.pasts.get(seen_app.app, b"")),
                until_s - behind_minutes * MINUTE_S,
                now_s,
            )
        except PackError as error:  # its rules may still be evaluated
            self._log_once(f"{seen_app.app} cannot be judged: {error}", error)
            return None

    def _find_fleet(self, results: Round) -> Fleet | None:
        """The problem that many apps have; apps that only were replayed have none with others."""
        return find_fleet(
            [verdict for app, verdict in results.verdicts.items() if app not in self._quiet_apps]
        )

    # --- a round, as soon as a minute has ended -----------------------------------------------

    async def _preview(self, now_s: float, until_s: int) -> None:
        """Publish the verdicts of the minute that has just ended, and send urgent alerts."""
        judges = self._judges.judged_until(until_s - MINUTE_S)
        if not judges or self._spool_since_s():
            return
        results = Round()
        slot = Slot(self._minutes.name, until_s - MINUTE_S)
        reachable = await self._store.reachable_apps(list(judges))
        for first in range(0, len(reachable), APPS_PER_READ):
            apps = reachable[first : first + APPS_PER_READ]
            contents = await self._store.read_many([(app, [slot]) for app in apps])
            for app, content in zip(apps, contents, strict=True):
                await self._preview_app(results, app, judges[app], content, until_s)
                await asyncio.sleep(0)
        if any(map(is_urgent, results.verdicts.values())) and self._config.is_active:
            await self._alert_early(results, until_s, now_s)
        await self._commit(results, now_s)

    async def _preview_app(
        self, results: Round, app: str, judge: AppJudge, contents: Contents, until_s: int
    ) -> None:
        minute_s = until_s - MINUTE_S
        time_range = QueryRange(minute_s, until_s, MINUTE_S, self._minutes)
        try:
            packed_rollups = [data for _, data in list_packed(contents, time_range)]
            interval = await observe(packed_rollups, minute_s, limits=self._limits)
            record = judge.preview(interval)
        except PackError as error:
            self._log_once(f"{app} cannot be judged: {error}", error)
            return
        results.verdicts[app] = record.verdict
        if judge.verdict is not None:
            packed = pack_verdict_record(record)
            results.changes.append(AlertChange(AlertTable.VERDICTS, app, packed))

    async def _alert_early(self, results: Round, end_s: int, now_s: float) -> None:
        """Alert about apps that are down. Their other alerts wait until the minute is final."""
        (states,) = await self._store.alert_tables(AlertTable.STATES)
        alerts_by_app = unpack_readable(states, unpack_app_alerts, "state of")
        fleet = self._find_fleet(results)
        for app, verdict in results.verdicts.items():
            before = alerts_by_app.get(app)
            if before is None or not is_urgent(verdict):
                continue
            rules = self._queries_for(app).rules
            urgent = early_results(judge_findings(rules, before, verdict), verdict)
            after, transitions = fire_early(before, rules, urgent, end_s)
            if transitions:
                await self._collect(results, app, Evaluation(after, transitions), now_s, fleet)

    def _queries_for(self, app: str) -> RuleQueries:
        rules = rules_for(app, self._config.rules)
        names = tuple(rule.name for rule in rules)
        if names not in self._queries:
            self._queries[names] = RuleQueries(rules)
        return self._queries[names]

    async def _collect(
        self,
        results: Round,
        app: str,
        evaluation: Evaluation,
        now_s: float,
        fleet: Fleet | None,
    ) -> None:
        """Add the state, history and notification of one app to the round.

        Alerts that `fleet` explains are not notified: its own alert is.
        """
        config = self._config
        explained_rules = self._explained_rules(fleet, app, results.verdicts.get(app))
        plan = select_notifications(
            evaluation.state,
            config.rules,
            lambda rule: (
                app in self._quiet_apps
                or rule in explained_rules
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
            entries.append(skipped_entry(evaluation, now_s))
        if entries:
            results.history[app] = [pack_json(entry) for entry in entries]
        results.add_state(app, plan.state)
        if plan:
            results.messages.append(await self._message(app, plan, evaluation, now_s))

    def _explained_rules(
        self, fleet: Fleet | None, app: str, verdict: Verdict | None
    ) -> frozenset[str]:
        """The rules with alerts about an app that the problem of many apps explains."""
        is_told = any(
            rule.kind == "fleet" and rule.enabled and self._has_channel_for(SERVICE, rule.name)
            for rule in self._config.rules.values()
        )
        if fleet is None or verdict is None or not is_told:
            return frozenset()
        kinds = {finding.kind for finding in verdict.findings if fleet.explains(app, finding)}
        return frozenset(
            rule.name for rule in self._config.rules.values() if kinds.intersection(rule.findings)
        )

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
            int(now_s),
            self._url,
            recent.events,
            recent.last_release,
            notes_about(evaluation, now_s),
        )
        return compose(
            app, plan.new_alerts, plan.ended_alerts, plan.other_alerts, self._config.rules, context
        )

    def _has_channel_for(self, app: str, rule_name: str) -> bool:
        rule = self._config.rules.get(rule_name)
        severity = rule.severity if rule is not None else "warn"
        return any(channel.accepts(app, severity) for channel in self._config.channels.values())

    async def _commit(self, results: Round, now_s: float) -> bool:
        """Write the round in one step; False, and nothing written, if the lease was lost."""
        results.forget_others({seen_app.app for seen_app in await self._store.seen_apps()})
        changes = list(results.changes)
        for channel in self._config.channels.values():
            for message in results.messages_for(channel, self._url):
                changes += enqueue(message, [channel], int(now_s))
        is_written = await self._store.change_alerts(
            changes,
            history=results.history,
            episodes=results.episodes,
            lease=self._lease.token,
        )
        if results.messages:
            self._has_messages.set()
        return is_written

    async def _publish_progress(self, complete_s: int, delay_reason: str) -> None:
        fields = {
            "evaluated_s": str(complete_s),
            "waiting": delay_reason,
            "unknown": without_addresses(self._earlier_hours.unknown_reason),
            "worker": self._name,
        }
        await self._store.write_status(HEARTBEAT, fields, ttl_ms=_HEARTBEAT_TTL_MS)
