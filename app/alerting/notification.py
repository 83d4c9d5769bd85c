"""A message: what somebody is told about one app at one time. Pure; each channel gives it the form
that it needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlencode

import msgspec

from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert
from app.alerting.wording import (
    app_in_words,
    clock,
    how_it_ended,
    meaning,
    minutes_in_words,
    name_of,
    since,
    what_is,
)
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S
from parsers.samples import APP_EVENTS

BEFORE_S = HOUR_S  # how long before an alert a change is looked for
SHOWN_BEFORE_S = 30 * MINUTE_S  # of the view that a message leads to
CHANGES_MAX = 3
DIGEST_ITEMS_MAX = 40
DIGEST_NAMES_MAX = 5
_CODE = frozenset({"release", "deploy", "rollback"})
_MS = 1000


class NotificationItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alert in a message. Times in Unix seconds; `value` and `limit` in `unit`."""

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


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """`id` is the same however often it is delivered. `status`: firing, if anything begins in it.
    `before`: what was done to the app just before. `besides`: what else is beyond its limit.
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


class Context(msgspec.Struct, frozen=True):
    """What is known beside the alerts: `events` around the time, `released` (at_ms, version) of the
    last release, 0 if none is known; `url` of the pages; `notes` on what could not be evaluated.
    """

    now_s: int
    url: str
    events: tuple[EventKey, ...] = ()
    released: tuple[int, str] = (0, "")
    notes: tuple[str, ...] = ()


def compose(
    app: str,
    fired: Sequence[Alert],
    resolved: Sequence[Alert],
    besides: Sequence[Alert],
    rules: Mapping[str, Rule],
    context: Context,
) -> Notification:
    """The message about these alerts; at least one fires or is over."""
    order = sorted(fired, key=lambda alert: (_severity(alert, rules) != "page", alert.since_s))
    items = [_fires(app, alert, rules.get(alert.rule), context) for alert in order]
    items += [_is_over(app, alert, rules.get(alert.rule), context) for alert in resolved]
    begun = min((alert.since_s for alert in order), default=0)
    return Notification(
        id=_id_of(app, fired, resolved),
        app=app,
        status="firing" if order else "resolved",
        severity="page" if any(item.severity == "page" for item in items) else "warn",
        title=f"{app_in_words(app)}: {_headline(order, resolved, rules)}",
        created=context.now_s,
        alerts=tuple(items),
        before=just_before(context, begun) if order and app != SERVICE else "",
        besides=tuple(what_is(alert, rules.get(alert.rule)) for alert in besides),
        notes=context.notes,
        link=_link(app, [*order, *resolved], rules, context),
    )


def _id_of(app: str, fired: Sequence[Alert], resolved: Sequence[Alert]) -> str:
    """From what it says: whoever composes it again, after a crash, makes the same one."""
    said = [f"fired {alert.id}" for alert in fired] + [f"resolved {alert.id}" for alert in resolved]
    return hashlib.sha256("\n".join([app, *sorted(said)]).encode()).hexdigest()[:24]


def _severity(alert: Alert, rules: Mapping[str, Rule]) -> str:
    rule = rules.get(alert.rule)
    return rule.severity if rule is not None else "warn"


def _headline(fired: Sequence[Alert], resolved: Sequence[Alert], rules: Mapping[str, Rule]) -> str:
    if fired:
        more = len(fired) - 1
        return what_is(fired[0], rules.get(fired[0].rule)) + (f", and {more} more" if more else "")
    names = ", ".join(name_of(alert, rules.get(alert.rule)) for alert in resolved)
    lasted = max(alert.last_bad_s for alert in resolved) - min(each.since_s for each in resolved)
    return f"over after {minutes_in_words(lasted / MINUTE_S)}: {names}"


def _fires(app: str, alert: Alert, rule: Rule | None, context: Context) -> NotificationItem:
    return NotificationItem(
        id=f"{app}:{alert.id}",
        app=app,
        rule=alert.rule,
        key=alert.key,
        status="firing",
        severity=rule.severity if rule else "warn",
        what=f"{_what(alert, rule)}, {since(alert, context.now_s)}",
        since=alert.since_s,
        value=alert.value,
        limit=alert.limit,
        worst=alert.worst,
        unit=rule.unit if rule else "",
        dyno=alert.detail,
        means=meaning(alert, rule),
        look=rule.look if rule else "",
    )


def _what(alert: Alert, rule: Rule | None) -> str:
    """How long it had lasted when it was evaluated, the time since says better."""
    if rule is not None and rule.unit == "minutes":
        return name_of(alert, rule)
    return what_is(alert, rule)


def _is_over(app: str, alert: Alert, rule: Rule | None, context: Context) -> NotificationItem:
    return NotificationItem(
        id=f"{app}:{alert.id}",
        app=app,
        rule=alert.rule,
        key=alert.key,
        status="resolved",
        severity=rule.severity if rule else "warn",
        what=how_it_ended(alert, rule, context.now_s),
        since=alert.since_s,
        ended=alert.last_bad_s,
        worst=alert.worst,
        unit=rule.unit if rule else "",
        reason="" if rule else "its rule was removed",
    )


def just_before(context: Context, begun_s: int) -> str:
    """What was done to the app before an alert began, the last first."""
    until_ms = (begun_s + MINUTE_S) * _MS  # it began at some time in that minute
    done = [
        event
        for event in context.events
        if event.kind in APP_EVENTS and until_ms - BEFORE_S * _MS <= event.at_ms < until_ms
    ]
    if not done:
        last_ms, version = context.released
        if not last_ms:
            return "No release, config change or scaling in the hour before."
        ago = minutes_in_words((context.now_s - last_ms / _MS) / MINUTE_S)
        return (
            "No release, config change or scaling in the hour before; "
            f"the last release was {version}, {ago} ago."
        )
    done.sort(key=lambda event: (event.kind in _CODE, event.at_ms), reverse=True)
    told = [
        f"{event.kind} {event.detail} at {clock(event.at_ms / _MS, context.now_s)}"
        f" ({_gap(begun_s - event.at_ms / _MS)})"
        for event in done[:CHANGES_MAX]
    ]
    more = f"; and {len(done) - CHANGES_MAX} more" if len(done) > CHANGES_MAX else ""
    return f"{'; '.join(told)}{more}."


def _gap(seconds: float) -> str:
    if seconds < MINUTE_S:
        return "within a minute before" if seconds > 0 else "in the same minute"
    return f"{minutes_in_words(seconds / MINUTE_S)} before"


def _link(app: str, alerts: Sequence[Alert], rules: Mapping[str, Rule], context: Context) -> str:
    """To the page of exactly that time, and that process type if all are of one."""
    if app == SERVICE:
        return f"{context.url}/"
    start = min(alert.since_s for alert in alerts) - SHOWN_BEFORE_S
    chosen: dict[str, str | int] = {"start": start, "end": context.now_s}
    types = {
        alert.key if rule is not None and rule.by == "process_type" else ""
        for alert in alerts
        for rule in (rules.get(alert.rule),)
    }
    if len(types) == 1 and (process_type := types.pop()):
        chosen["process_type"] = process_type
    return f"{context.url}/apps/{app}?{urlencode(chosen)}"


def as_text(message: Notification) -> str:
    """The whole message in plain text, without its title."""
    lines: list[str] = []
    for item in message.alerts:
        lines += [f"{'FIRING' if item.status == 'firing' else 'OVER'}  {item.what}"]
        details = (
            ("dyno", item.dyno),
            ("It means", item.means),
            ("Look at", item.look),
            ("Ended because", item.reason),
        )
        lines += [f"  {name}: {text}" for name, text in details if text]
        lines.append("")
    if message.before:
        lines += [f"Just before: {message.before}", ""]
    if message.besides:
        lines += ["Also beyond its limit: " + "; ".join(message.besides) + ".", ""]
    lines += [f"Note: {note}" for note in message.notes]
    if message.link:
        lines.append(message.link)
    return "\n".join(lines).strip() + "\n"


def digest(messages: Sequence[Notification], url: str) -> Notification:
    """One message instead of many, when many apps are in trouble at once."""
    status = "firing" if any(each.status == "firing" for each in messages) else "resolved"
    order = sorted(messages, key=lambda each: (each.status != status, each.severity != "page"))
    items = [item for each in order for item in each.alerts]
    shown = tuple(
        msgspec.structs.replace(item, what=f"{item.app}: {item.what}", means="", look="")
        for item in items[:DIGEST_ITEMS_MAX]
    )
    notes = dict.fromkeys(note for each in messages for note in each.notes)
    if len(items) > len(shown):
        notes[f"And {len(items) - len(shown)} more."] = None
    said = "\n".join(sorted(each.id for each in messages))
    names = ", ".join(each.app for each in order[:DIGEST_NAMES_MAX])
    more = len(order) - DIGEST_NAMES_MAX
    return Notification(
        id=hashlib.sha256(f"digest\n{said}".encode()).hexdigest()[:24],
        app=SERVICE,
        status="firing" if status == "firing" else "resolved",
        severity="page" if any(each.severity == "page" for each in messages) else "warn",
        title=f"{len(order)} apps at once: {names}" + (f" and {more} more" if more > 0 else ""),
        created=max(each.created for each in messages),
        alerts=shown,
        before="Many at once: look at what they share first, and at status.heroku.com.",
        notes=tuple(notes),
        link=f"{url}/",
    )


def a_test(channel: str, now_s: int, url: str) -> Notification:
    """A message that only says that messages arrive."""
    return Notification(
        id=hashlib.sha256(f"test {channel} {now_s}".encode()).hexdigest()[:24],
        app=SERVICE,
        status="test",
        severity="warn",
        title=f"Dynometer: a test of the channel {channel}",
        created=now_s,
        notes=("Alerts will look like this, with what happened instead of this line.",),
        link=f"{url}/",
    )
