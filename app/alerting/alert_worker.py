"""Tells people: evaluates what is complete, notes what changed together with what is to be said
about it, and says it.

One of all workers does so at a time, the one that holds the lease. All that an evaluation brings
about is written in one step, which only whoever holds the lease can make; so a minute counts once,
whoever is killed when.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from app.alerting.channels.channel import Channel, unpack_health
from app.alerting.channels.delivery import ChannelSender
from app.alerting.config import NOTHING, AlertConfig, read_config, readable
from app.alerting.evaluator import Evaluation, Evaluator, rules_about
from app.alerting.inhibition import NotificationPlan, select_notifications
from app.alerting.inputs import RecentChanges, RuleQueries, recent_changes
from app.alerting.lease import TTL_S, Lease
from app.alerting.notification import Context, Notification, compose, digest
from app.alerting.outbox import Outbox, put
from app.alerting.rule import SERVICE
from app.alerting.self_monitoring import SPOOLING, condition_of, evaluate_service
from app.alerting.state import AppAlerts, HistoryEntry, pack_app, pack_json, unpack_app
from app.alerting.state_machine import Transition
from app.alerting.store_outage import FILE, StoreOutageNotifier
from app.alerting.wording import clock as in_words
from app.alerting.wording import how_it_ended, what_is
from app.query.engine import SETTLED_AFTER_S
from app.rollup.resolutions import DAY_S, MINUTE_S, Resolution, align
from app.rollup.time_range import TimeRange
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import Store, StoreError

log = logging.getLogger(__name__)

TICK_S = 1.0
CONFIG_EVERY_S = 5  # what the operator changes takes effect within so long
# After the store was away other workers have so long to say that lines wait on their disks.
RECOVERY_S = 2 * CONFIG_EVERY_S
DIGEST_APPS = 6  # from so many in trouble at once on they share a message
WATCHED_S = 2 * DAY_S  # an app that was heard from within so long
FORGOTTEN_S = 7 * DAY_S  # an app that was not evaluated for so long
PULSE = "alerts"  # the sign of life of whoever evaluates
_PULSE_TTL_MS = 600_000
_SPOOLING_TTL_MS = 30_000


class _Round(NamedTuple):
    """One evaluation of all apps."""

    changes: list[AlertChange]
    history: dict[str, list[bytes]]
    messages: list[Notification]


class AlertWorker:
    """Evaluates and delivers, or waits until whoever does is gone."""

    def __init__(
        self,
        store: Store,
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
            store: with the apps' rollups, and the alerts.
            minutes: the finest resolution.
            clock: Unix time in seconds.
            url: of the pages, without a slash at its end.
            name: of this worker on this machine.
            spool_since_s: since when lines wait on this machine's disk; 0 when none do.
            directory: for what must be remembered while the store is away.
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
        self._outbox = Outbox(store, self._lease, sender, clock)
        self._away = StoreOutageNotifier(
            directory / FILE, sender, name=socket.gethostname(), url=url
        )
        self._config: AlertConfig = NOTHING
        self._questions: dict[tuple[str, ...], RuleQueries] = {}
        self._configured_s = 0.0
        self._evaluated_s = 0
        self._failed_s = 0.0
        self._said_waiting = False
        self._last_error = ""  # what was logged last, so that it is not repeated every second

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._again(self.evaluate), name="evaluate alerts")
                tasks.create_task(self._again(self.deliver), name="deliver alerts")
        finally:
            self.close()
            await self._release()

    def close(self) -> None:
        """Let go of what this process holds on this machine."""
        self._away.close()

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self.attempt(work)
            await asyncio.sleep(TICK_S)

    async def attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, and take note if it fails: then it is done again."""
        try:
            await work()
        except StoreError as error:
            self._failed_s = self._clock()
            self._note(str(error))
        except Exception as error:  # telling people must not end with one thing that went wrong
            self._note(f"{type(error).__name__}: {error}", error)

    def _note(self, said: str, error: Exception | None = None) -> None:
        if said != self._last_error:
            log.error("alerts wait: %s", said, exc_info=error)
        self._last_error = said

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except StoreError as error:
            log.info("alerts: the lease ends by itself: %s", error)

    async def deliver(self) -> None:
        """Send what is due.

        Raises:
            StoreUnavailable: the store is away.
        """
        if self._lease.held and self._config.active:
            await self._outbox.deliver(self._config.channels)

    async def evaluate(self) -> None:
        """Evaluate every minute that has become complete since the last time.

        Raises:
            StoreUnavailable: the store is away. Who is to be told of that knows.
        """
        now_s = self._clock()
        try:
            await self._evaluate_due(now_s)
        except StoreError:
            await self._away.note(now_s, self._config)
            raise

    async def _evaluate_due(self, now_s: float) -> None:
        until_s = align(int(now_s - SETTLED_AFTER_S), MINUTE_S)
        if until_s <= self._evaluated_s and abs(now_s - self._configured_s) < CONFIG_EVERY_S:
            return
        self._configured_s = now_s
        spooling_s = await self._say_what_waits()
        config = await read_config(self._store)
        await self._away.back(self._store)
        if config != self._config:
            self._config, self._questions = config, {}
        if not config.active:
            await self._lease.release()
            return
        if not await self._lease.hold() or until_s <= self._evaluated_s:
            return
        if self._failed_s <= now_s < self._failed_s + RECOVERY_S:
            return
        await self._evaluate(now_s, until_s, spooling_s)

    async def _say_what_waits(self) -> int:
        """Let the others know what waits on our disk."""
        since_s = self._spool_since_s()
        if since_s or self._said_waiting:
            name, said = f"{SPOOLING}{self._name}", {"since_s": str(since_s)}
            await self._store.heartbeat(name, said, ttl_ms=_SPOOLING_TTL_MS)
        self._said_waiting = bool(since_s)
        return since_s

    async def _evaluate(self, now_s: float, until_s: int, spooling_s: int) -> None:
        states, healths = await self._store.alert_tables(AlertTable.STATES, AlertTable.HEALTH)
        condition = await condition_of(
            self._store,
            now_s,
            spooling_s,
            {name: unpack_health(healths.get(name)) for name in self._config.channels},
        )
        waiting = ""
        complete_s = until_s
        if condition.spooling_since_s:
            # A line may be a little older than its arrival: the minute before may lack some, too.
            complete_s = min(until_s, align(condition.spooling_since_s, MINUTE_S) - MINUTE_S)
            waiting = f"lines since {in_words(condition.spooling_since_s, now_s)} wait on disk"
        known = readable(states, unpack_app, "state of")
        done = _Round(self._forgotten(known, healths, now_s), {}, [])
        service = evaluate_service(self._config.rules, known.get(SERVICE), condition)
        await self._take(done, SERVICE, service, now_s)
        held_s = time.monotonic()
        apps = await self._store.seen_apps()
        reachable = set(await self._store.reachable_apps([seen.app for seen in apps]))
        for seen in apps:
            if seen.app not in reachable:
                continue  # its minutes are evaluated when it is back
            before = known.get(seen.app)
            watched = now_s - seen.last_seen_s < WATCHED_S or (before and before.alerts)
            if watched and (before is None or before.evaluated_s < complete_s):
                await self._evaluate_app(done, seen.app, before, complete_s, now_s)
                await asyncio.sleep(0)
            if time.monotonic() - held_s > TTL_S / 3:
                held_s = time.monotonic()
                if not await self._lease.hold():
                    return
        if await self._commit(done, now_s):
            self._evaluated_s = complete_s
            self._last_error = ""
            await self._pulse(complete_s, waiting)

    async def _evaluate_app(
        self, done: _Round, app: str, before: AppAlerts | None, until_s: int, now_s: float
    ) -> None:
        questions = self._questions_about(app)
        if not questions.rules:
            return
        try:
            found = await self._evaluator.evaluate(app, before, questions, until_s, now_s)
            await self._take(done, app, found, now_s)
        except StoreError:
            raise
        except Exception as error:  # one app that cannot be evaluated must not silence the others
            self._note(f"{app} cannot be evaluated: {type(error).__name__}: {error}", error)

    def _forgotten(
        self, known: Mapping[str, AppAlerts], healths: Mapping[str, bytes], now_s: float
    ) -> list[AlertChange]:
        """What is kept of what is no more: apps not heard of for long, mutes that ended, channels
        that were removed.
        """
        states = [app for app, each in known.items() if now_s - each.evaluated_s > FORGOTTEN_S]
        mutes = [app for app, each in self._config.mutes.items() if each.until_s <= now_s]
        channels = [name for name in healths if name not in self._config.channels]
        return [
            *(AlertChange(AlertTable.STATES, app, b"") for app in states),
            *(AlertChange(AlertTable.MUTES, app, b"") for app in mutes),
            *(AlertChange(AlertTable.HEALTH, name, b"") for name in channels),
        ]

    def _questions_about(self, app: str) -> RuleQueries:
        rules = rules_about(app, self._config.rules)
        names = tuple(rule.name for rule in rules)
        if names not in self._questions:
            self._questions[names] = RuleQueries(rules)
        return self._questions[names]

    async def _take(self, done: _Round, app: str, found: Evaluation, now_s: float) -> None:
        """Add what an evaluation of an app brings about."""
        config = self._config
        said = select_notifications(
            found.after,
            config.rules,
            lambda rule: config.is_muted(app, now_s) or not self._is_for_anybody(app, rule),
        )
        told = {alert.id for alert in said.fired}
        entries = [self._told(change, now_s, told) for change in found.changes]
        if found.skipped:
            entries.append(_skipped(found, now_s))
        if entries:
            done.history[app] = [pack_json(entry) for entry in entries]
        done.changes.append(AlertChange(AlertTable.STATES, app, pack_app(said.after)))
        if said:
            done.messages.append(await self._message(app, said, found, now_s))

    def _told(self, change: Transition, now_s: float, told: set[str]) -> HistoryEntry:
        alert, rule = change.alert, self._config.rules.get(change.alert.rule)
        fired = change.what == "fired"
        return HistoryEntry(
            at_s=int(now_s),
            what=change.what,
            text=what_is(alert, rule) if fired else how_it_ended(alert, rule, now_s),
            rule=alert.rule,
            key=alert.key,
            since_s=alert.since_s,
            value=alert.value if fired else alert.worst,
            limit=alert.limit,
            severity=rule.severity if rule is not None else "",
            told=alert.id in told or alert.told,
            id=alert.id,
        )

    async def _message(
        self, app: str, said: NotificationPlan, found: Evaluation, now_s: float
    ) -> Notification:
        known = RecentChanges((), (0, ""))
        if said.fired and app != SERVICE:
            begun_s = min(alert.since_s for alert in said.fired)
            known = await recent_changes(self._store, app, begun_s, int(now_s), self._minutes)
        context = Context(int(now_s), self._url, known.events, known.released, _notes(found, now_s))
        return compose(app, said.fired, said.resolved, said.besides, self._config.rules, context)

    def _is_for_anybody(self, app: str, name: str) -> bool:
        rule = self._config.rules.get(name)
        severity = rule.severity if rule is not None else "warn"
        return any(each.takes(app, severity) for each in self._config.channels.values())

    async def _commit(self, done: _Round, now_s: float) -> bool:
        """Whether it counts: not if the lease was lost meanwhile."""
        changes = list(done.changes)
        for channel in self._config.channels.values():
            for message in _for_channel(done.messages, channel, self._url):
                changes += put(message, [channel], int(now_s))
        return await self._store.change_alerts(
            changes, history=done.history, lease=self._lease.token
        )

    async def _pulse(self, complete_s: int, waiting: str) -> None:
        said = {"evaluated_s": str(complete_s), "waiting": waiting, "worker": self._name}
        await self._store.heartbeat(PULSE, said, ttl_ms=_PULSE_TTL_MS)


def _for_channel(messages: list[Notification], channel: Channel, url: str) -> list[Notification]:
    """What a channel is told: of many apps at once in one message; that it does not work itself,
    not at all.
    """
    mine = [
        message
        for message in messages
        if channel.takes(message.app, message.severity)
        and not all(
            item.rule == "channel-fails" and item.key == channel.name for item in message.alerts
        )
    ]
    apps = [message for message in mine if message.app != SERVICE]
    if len(apps) < DIGEST_APPS:
        return mine
    return [*(each for each in mine if each.app == SERVICE), digest(apps, url)]


def _notes(found: Evaluation, now_s: float) -> tuple[str, ...]:
    notes = []
    if found.late:
        first, last = _ends(found.late, now_s)
        notes.append(
            f"{first} to {last} was looked at only now: Dynometer or its store was away. What "
            "began and ended in that time is in the history alone."
        )
    if found.lost:
        notes.append(f"Heroku lost {found.lost:,} lines meanwhile: counts are too low.")
    return tuple(notes)


def _skipped(found: Evaluation, now_s: float) -> HistoryEntry:
    first, last = _ends(found.skipped, now_s)
    return HistoryEntry(int(now_s), "skipped", f"{first} to {last} was not evaluated: too long ago")


def _ends(span: TimeRange, now_s: float) -> tuple[str, str]:
    return in_words(span.start_s, now_s), in_words(span.end_s, now_s)
