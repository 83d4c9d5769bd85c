"""A notification about the alerts of one app. Pure; each channel formats it in its own way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlencode

import msgspec

from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert
from app.alerting.wording import (
    alert_name,
    app_in_words,
    describe_alert,
    describe_resolution,
    explain_alert,
    minutes_in_words,
    since_in_words,
    utc_time,
)
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S
from app.support.quantities import count_in_words, names_in_words
from parsers.samples import APP_EVENTS

CHANGES_BEFORE_S = HOUR_S  # changes within this time before an alert are listed
VIEW_BEFORE_S = 30 * MINUTE_S  # the linked page starts this long before the alert
CHANGES_MAX = 3
ACTION_MS = 5_000  # changes this close are of one action
DIGEST_ITEMS_MAX = 40
DIGEST_NAMES_MAX = 5
_CODE_CHANGES = frozenset({"release", "deploy", "rollback"})
_MS = 1000


class NotificationItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alert in a notification. Times in Unix seconds; `value` and `limit` in `unit`.

    `summary`: the finding in a sentence or two; "" for rules that are not about findings.
    """

    id: str
    app: str
    rule: str
    key: str
    status: Literal["firing", "resolved"]
    severity: str
    what: str
    since: int
    ended: int = 0
    value: float = 0
    limit: float = 0
    worst: float = 0
    unit: str = ""
    dyno: str = ""
    means: str = ""
    look: str = ""
    reason: str = ""
    summary: str = ""


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to a channel; its field names are those of the webhook's JSON.

    id       the same each time that it is delivered
    summary  that of the first alert
    status   firing if at least one alert in it starts to fire
    before   the changes made to the app just before
    besides  other alerts of the app that fire at the moment
    """

    id: str
    app: str
    status: Literal["firing", "resolved", "test"]
    severity: str
    title: str
    created: int
    alerts: tuple[NotificationItem, ...] = ()
    before: str = ""
    besides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    link: str = ""
    summary: str = ""


class Context(msgspec.Struct, frozen=True):
    """Facts for a notification besides its alerts.

    url           the address of the pages
    events        the app's events around the start of the alerts
    last_release  (at_ms, version); at_ms is 0 if no release is known
    notes         sentences about minutes that were evaluated late or with lines missing
    """

    now_s: int
    url: str
    events: tuple[EventKey, ...] = ()
    last_release: tuple[int, str] = (0, "")
    notes: tuple[str, ...] = ()


def compose(
    app: str,
    new_alerts: Sequence[Alert],
    ended_alerts: Sequence[Alert],
    other_alerts: Sequence[Alert],
    rules: Mapping[str, Rule],
    context: Context,
) -> Notification:
    """Compose the notification of these alerts; `new_alerts` or `ended_alerts` has at least one."""
    order = sorted(new_alerts, key=lambda alert: (_severity(alert, rules) != "page", alert.since_s))
    items = [_firing_item(app, alert, rules.get(alert.rule), context) for alert in order]
    items += [_resolved_item(app, alert, rules.get(alert.rule), context) for alert in ended_alerts]
    first_start_s = min((alert.since_s for alert in order), default=0)
    return Notification(
        id=_message_id(app, new_alerts, ended_alerts),
        app=app,
        status="firing" if order else "resolved",
        severity="page" if any(item.severity == "page" for item in items) else "warn",
        title=f"{app_in_words(app)}: {_headline(order, ended_alerts, rules)}",
        created=context.now_s,
        alerts=tuple(items),
        before=describe_recent_changes(context, first_start_s) if order and app != SERVICE else "",
        besides=tuple(describe_alert(alert, rules.get(alert.rule)) for alert in other_alerts),
        notes=context.notes,
        link=_link(app, [*order, *ended_alerts], rules, context),
        summary=items[0].summary,
    )


def _message_id(app: str, new_alerts: Sequence[Alert], ended_alerts: Sequence[Alert]) -> str:
    """Derived from the alerts, so a worker that repeats the work after a crash gets the same id."""
    parts = [f"fired {alert.id}" for alert in new_alerts] + [
        f"resolved {alert.id}" for alert in ended_alerts
    ]
    return hashlib.sha256("\n".join([app, *sorted(parts)]).encode()).hexdigest()[:24]


def _severity(alert: Alert, rules: Mapping[str, Rule]) -> str:
    rule = rules.get(alert.rule)
    return rule.severity if rule is not None else "warn"


def _headline(
    new_alerts: Sequence[Alert], ended_alerts: Sequence[Alert], rules: Mapping[str, Rule]
) -> str:
    if new_alerts:
        more = len(new_alerts) - 1
        return describe_alert(new_alerts[0], rules.get(new_alerts[0].rule)) + (
            f", and {count_in_words(more, 'more problem')}" if more else ""
        )
    first, *others = ended_alerts
    if first.summary and not others:
        summary = describe_alert(first, rules.get(first.rule))
        return f"resolved: {summary[:1].lower()}{summary[1:]}"
    names = ", ".join(alert_name(alert, rules.get(alert.rule)) for alert in ended_alerts)
    duration_s = max(alert.last_breach_s for alert in ended_alerts) - min(
        alert.since_s for alert in ended_alerts
    )
    return f"resolved after {minutes_in_words(duration_s / MINUTE_S)}: {names}"


def _firing_item(app: str, alert: Alert, rule: Rule | None, context: Context) -> NotificationItem:
    return NotificationItem(
        id=f"{app}:{alert.id}",
        app=app,
        rule=alert.rule,
        key=alert.key,
        status="firing",
        severity=rule.severity if rule else "warn",
        what=_what(alert, rule, context),
        since=alert.since_s,
        value=alert.value,
        limit=alert.limit,
        worst=alert.worst,
        unit=rule.unit if rule else "",
        dyno=alert.detail,
        means=explain_alert(alert, rule),
        look=rule.look if rule else "",
        summary=alert.summary,
    )


def _what(alert: Alert, rule: Rule | None, context: Context) -> str:
    """The alert in words, and since when: a summary says both."""
    if alert.summary:
        return alert.summary.removesuffix(".")
    return f"{_subject(alert, rule)}, {since_in_words(alert, context.now_s)}"


def _subject(alert: Alert, rule: Rule | None) -> str:
    """The alert and its value. A value that is a duration is left out: "since" follows anyway."""
    if rule is not None and rule.unit == "minutes":
        return alert_name(alert, rule)
    return describe_alert(alert, rule)


def _resolved_item(app: str, alert: Alert, rule: Rule | None, context: Context) -> NotificationItem:
    return NotificationItem(
        id=f"{app}:{alert.id}",
        app=app,
        rule=alert.rule,
        key=alert.key,
        status="resolved",
        severity=rule.severity if rule else "warn",
        what=describe_resolution(alert, rule, context.now_s),
        since=alert.since_s,
        ended=alert.last_breach_s,
        worst=alert.worst,
        unit=rule.unit if rule else "",
        reason="" if rule else "its rule was removed",
        summary=alert.summary,
    )


def describe_recent_changes(context: Context, alert_start_s: int) -> str:
    """The changes made to the app before an alert began: code changes first, then the latest."""
    until_ms = (alert_start_s + MINUTE_S) * _MS  # the alert began at some time in that minute
    changes = [
        event
        for event in context.events
        if event.kind in APP_EVENTS and until_ms - CHANGES_BEFORE_S * _MS <= event.at_ms < until_ms
    ]
    if not changes:
        last_ms, release = context.last_release
        if not last_ms:
            return "No release, config change or scaling in the hour before."
        ago = minutes_in_words((context.now_s - last_ms / _MS) / MINUTE_S)
        return (
            "No release, config change or scaling in the hour before; "
            f"the last release was {release}, {ago} ago."
        )
    changes.sort(key=lambda event: (event.kind in _CODE_CHANGES, event.at_ms), reverse=True)
    groups: list[list[EventKey]] = []  # the parts of one action have nearly the same time
    for event in changes[:CHANGES_MAX]:
        if groups and abs(groups[-1][0].at_ms - event.at_ms) <= ACTION_MS:
            groups[-1].append(event)
        else:
            groups.append([event])
    descriptions = [
        f"{names_in_words([f'{event.kind} {event.detail}' for event in group])}"
        f" at {utc_time(group[0].at_ms / _MS, context.now_s)}"
        f" ({_gap(alert_start_s - group[0].at_ms / _MS)})"
        for group in groups
    ]
    more = f"; and {len(changes) - CHANGES_MAX} more" if len(changes) > CHANGES_MAX else ""
    return f"{'; '.join(descriptions)}{more}."


def _gap(seconds: float) -> str:
    if seconds < MINUTE_S:
        return "less than a minute before" if seconds > 0 else "in the same minute"
    return f"{minutes_in_words(seconds / MINUTE_S)} before"


def _link(app: str, alerts: Sequence[Alert], rules: Mapping[str, Rule], context: Context) -> str:
    """The page of that time, filtered by process type if all alerts are about the same one."""
    if app == SERVICE:
        return f"{context.url}/"
    start = min(alert.since_s for alert in alerts) - VIEW_BEFORE_S
    parameters: dict[str, str | int] = {"start": start, "end": context.now_s}
    types = {
        alert.key if rule is not None and rule.by == "process_type" else ""
        for alert in alerts
        for rule in (rules.get(alert.rule),)
    }
    if len(types) == 1 and (process_type := types.pop()):
        parameters["process_type"] = process_type
    return f"{context.url}/apps/{app}?{urlencode(parameters)}"


def as_text(message: Notification) -> str:
    """The notification as plain text, without its title."""
    lines: list[str] = []
    for item in message.alerts:
        lines += [f"{'FIRING' if item.status == 'firing' else 'RESOLVED'}  {item.what}"]
        details = (
            ("Dyno", item.dyno),
            ("Meaning", item.means),
            ("Check", item.look),
            ("Ended because", item.reason),
        )
        lines += [f"  {name}: {text}" for name, text in details if text]
        lines.append("")
    if message.before:
        lines += [f"Just before: {message.before}", ""]
    if message.besides:
        lines += ["Also firing: " + "; ".join(message.besides) + ".", ""]
    lines += [f"Note: {note}" for note in message.notes]
    if message.link:
        lines.append(message.link)
    return "\n".join(lines).strip() + "\n"


def compose_digest(messages: Sequence[Notification], url: str) -> Notification:
    """Merge notifications about many apps into one."""
    status: Literal["firing", "resolved"] = (
        "firing" if any(message.status == "firing" for message in messages) else "resolved"
    )
    order = sorted(
        messages, key=lambda message: (message.status != status, message.severity != "page")
    )
    items = [item for message in order for item in message.alerts]
    listed_items = tuple(
        msgspec.structs.replace(item, what=f"{item.app}: {item.what}", means="", look="")
        for item in items[:DIGEST_ITEMS_MAX]
    )
    notes = dict.fromkeys(note for message in messages for note in message.notes)
    if len(items) > len(listed_items):
        notes[f"And {len(items) - len(listed_items)} more alerts."] = None
    message_ids = "\n".join(sorted(message.id for message in messages))
    names = ", ".join(message.app for message in order[:DIGEST_NAMES_MAX])
    more = len(order) - DIGEST_NAMES_MAX
    return Notification(
        id=hashlib.sha256(f"digest\n{message_ids}".encode()).hexdigest()[:24],
        app=SERVICE,
        status=status,
        severity="page" if any(message.severity == "page" for message in messages) else "warn",
        title=f"Alerts {status} for {len(order)} apps: {names}"
        + (f" and {more} more" if more > 0 else ""),
        created=max(message.created for message in messages),
        alerts=listed_items,
        before="Many apps are affected. First check shared services and status.heroku.com.",
        notes=tuple(notes),
        link=f"{url}/",
    )


def compose_test(channel: str, now_s: int) -> Notification:
    """A notification that tests the delivery to a channel. The service that sends it adds the
    link.
    """
    return Notification(
        id=hashlib.sha256(f"test {channel} {now_s}".encode()).hexdigest()[:24],
        app=SERVICE,
        status="test",
        severity="warn",
        title=f"Dynometer: test of channel {channel}",
        created=now_s,
        notes=("This is a test. An alert has its details in place of this line.",),
    )
