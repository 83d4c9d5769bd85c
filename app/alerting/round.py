"""The results of one evaluation of all apps, until they are written in one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from app.alerting.channels.channel import Channel
from app.alerting.evaluator import Evaluation
from app.alerting.notification import Notification, compose_digest
from app.alerting.rule import SERVICE
from app.alerting.state import AppAlerts, HistoryEntry, Mute, pack_app_alerts
from app.alerting.wording import utc_time
from app.judgement.verdict import Episode, Verdict
from app.rollup.resolutions import DAY_S
from app.rollup.time_range import TimeRange
from app.storage.interface.alerts import TABLES_OF_APPS, AlertChange, AlertTable
from app.verdicts.app_judges import AppJudge
from app.verdicts.verdict_record import VerdictRecord, pack_episode, pack_verdict_record

FORGOTTEN_S = 7 * DAY_S  # the state of an app that was not evaluated for this long is removed
DIGEST_APPS = 6  # notifications about this many apps in one evaluation are merged into one


class Tables(NamedTuple):
    """The tables that a round reads, by app."""

    alerts: dict[str, AppAlerts]
    records: dict[str, VerdictRecord]
    pasts: dict[str, bytes]


class Round:
    """The changes of an evaluation.

    changes, history, episodes   as AlertStore.change_alerts takes them
    messages      the notifications, for all channels
    evaluations   the results of rules, by app
    states        the alerts of each app that was evaluated, with their notifications
    verdicts      by app
    """

    def __init__(self, changes: Iterable[AlertChange] = ()) -> None:
        self.changes = list(changes)
        self.history: dict[str, list[bytes]] = {}
        self.episodes: dict[str, list[bytes]] = {}
        self.messages: list[Notification] = []
        self.evaluations: dict[str, Evaluation] = {}
        self.states: dict[str, AppAlerts] = {}
        self.verdicts: dict[str, Verdict] = {}

    def add_verdict(self, app: str, judge: AppJudge, earlier: Sequence[Episode] = ()) -> None:
        """Add the verdict of an app. `earlier`: its episodes of before it was watched."""
        record = judge.record()
        if record is None:
            return
        self.verdicts[app] = record.verdict
        self.changes.append(AlertChange(AlertTable.VERDICTS, app, pack_verdict_record(record)))
        if past := judge.take_past():
            self.changes.append(AlertChange(AlertTable.PASTS, app, past))
        if episodes := [*earlier, *judge.take_ended()]:
            self.episodes[app] = [
                *self.episodes.get(app, ()),
                *(pack_episode(episode) for episode in episodes),
            ]

    def add_state(self, app: str, state: AppAlerts) -> None:
        """Add the alerts of an app."""
        self.states[app] = state
        self.changes.append(AlertChange(AlertTable.STATES, app, pack_app_alerts(state)))

    def end_mutes(self, mutes: Mapping[str, Mute], now_s: float) -> None:
        """Remove mutes whose time is over, and acknowledgements of alerts that have resolved."""
        for app, mute in mutes.items():
            state = self.states.get(app) if mute.until_resolved else None
            if mute.until_s <= now_s or (state is not None and state.is_resolved):
                self.changes.append(AlertChange(AlertTable.MUTES, app, b""))

    def forget_others(self, apps: Set[str]) -> None:
        """Leave all other apps out: they were removed while they were judged."""
        names = {SERVICE, *apps}
        self.changes = [
            change
            for change in self.changes
            if not change.value or change.table not in TABLES_OF_APPS or change.field in names
        ]
        self.history = {app: entries for app, entries in self.history.items() if app in names}
        self.episodes = {app: entries for app, entries in self.episodes.items() if app in names}
        self.messages = [message for message in self.messages if message.app in names]

    def messages_for(self, channel: Channel, url: str) -> list[Notification]:
        """The notifications for one channel. Those about many apps become one digest.

        A channel gets no notifications about its own failure.
        """
        own_messages = [
            message
            for message in self.messages
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


def notes_about(evaluation: Evaluation, now_s: float) -> tuple[str, ...]:
    """Sentences about minutes that were evaluated late or with lines missing."""
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


def skipped_entry(evaluation: Evaluation, now_s: float) -> HistoryEntry:
    """The entry about minutes that were too old to be evaluated."""
    first, last = _range_in_words(evaluation.skipped_range, now_s)
    return HistoryEntry(int(now_s), "skipped", f"{first} to {last} was not evaluated: too long ago")


def _range_in_words(span: TimeRange, now_s: float) -> tuple[str, str]:
    return utc_time(span.start_s, now_s), utc_time(span.end_s, now_s)


def expired_records(tables: Tables, healths: Iterable[str], now_s: float) -> list[AlertChange]:
    """Remove the state of apps that are no longer evaluated, and these healths."""
    states = [
        app for app, alerts in tables.alerts.items() if now_s - alerts.evaluated_s > FORGOTTEN_S
    ]
    verdicts = [
        app for app, record in tables.records.items() if now_s - record.judged_until_s > FORGOTTEN_S
    ]
    return [
        *(AlertChange(AlertTable.STATES, app, b"") for app in states),
        *(
            AlertChange(table, app, b"")
            for app in verdicts
            for table in (AlertTable.VERDICTS, AlertTable.PASTS)
        ),
        *(AlertChange(AlertTable.HEALTH, name, b"") for name in healths),
    ]
