"""`dynometer alerts`: manages alert rules and channels.

It works on the store, so it needs no address of a service. The service sends the notifications.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.former_rules import FORMER_RULES
from app.alerting.rule import SERVICE, Rule
from app.alerting.status import AlertsOverview, ChannelState
from app.alerting.wording import (
    app_in_words,
    describe_alert,
    describe_mute,
    describe_rule,
    utc_time,
)
from app.cli.alert_channels import add_channel_arguments
from app.cli.arguments import duration, minutes
from app.cli.open_store import open_store
from app.cli.output import print_err
from app.config import Settings
from app.service.archive_extra import hours_kept_s
from app.support.about import command

HISTORY_ENTRIES = 100
TEST_WITHIN_S = 30.0
_PATIENCE_S = 5.0
_POLL_S = 0.2

Action = Callable[[AlertAdmin, argparse.Namespace], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("list", help="list firing alerts, mutes, channels and rules")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(action=_list)
    add = actions.add_parser("add", help="create a rule, or change one (also a built-in rule)")
    _add_rule_arguments(add)
    add.set_defaults(action=_add)
    for name, help_text, action in (
        ("off", "disable rules", _off),
        ("on", "enable rules", _on),
        ("remove", "delete rules of your own", _remove),
    ):
        change = actions.add_parser(name, help=help_text)
        change.add_argument("names", metavar="RULE", nargs="+")
        change.set_defaults(action=action)
    mute = actions.add_parser("mute", help="suppress new notifications about an app for a while")
    mute.add_argument(
        "app", metavar="APP", type=_app, help="an app, or 'dynometer' for Dynometer itself"
    )
    mute.add_argument(
        "for_s",
        metavar="DURATION",
        type=duration,
        help="duration, such as 30m, 2h or 7d",
    )
    _add_person(mute)
    mute.set_defaults(action=_mute)
    acknowledge = actions.add_parser(
        "ack", help="acknowledge an app's alerts: send no new ones until these resolve"
    )
    acknowledge.add_argument("app", metavar="APP", type=_app)
    _add_person(acknowledge)
    acknowledge.set_defaults(action=_acknowledge)
    unmute = actions.add_parser("unmute", help="end a mute, or withdraw an acknowledgement")
    unmute.add_argument("app", metavar="APP", type=_app)
    unmute.set_defaults(action=_unmute)
    history = actions.add_parser("history", help="list past alerts, newest first")
    history.add_argument("apps", metavar="APP", nargs="*", type=_app)
    history.add_argument("--json", action="store_true", help="print JSON")
    history.set_defaults(action=_history)
    test = actions.add_parser("test", help="make the service send a test notification")
    test.add_argument(
        "channels", metavar="CHANNEL", nargs="*", help="a channel (default: every channel)"
    )
    test.set_defaults(action=_test)
    add_channel_arguments(actions.add_parser("channel", help="manage the channels"))


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", metavar="NAME", default="", help="who acts, for others to see")


def _add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="RULE", help="a new name, or that of a rule to change")
    for option, field, kind, help_text in (
        ("--metric", "metric", str, "a metric of the API, such as requests"),
        ("--stat", "stat", str, "sum, rate, p95, avg, max, …, or share (with --filter)"),
        ("--by", "by", str, "evaluate each value of this label separately, such as process_type"),
        ("--limit", "limit", float, "fire above this value; with --compare, a factor"),
        ("--floor", "floor", float, "with --compare: the limit is at least this"),
        ("--resolve", "resolve", float, "resolve at this value (default: 80%% of the limit)"),
        ("--over", "over_minutes", minutes, "recent minutes that the value covers (default: 1)"),
        ("--for", "for_minutes", minutes, "consecutive minutes before it fires (default: 1)"),
        (
            "--quiet",
            "quiet_minutes",
            minutes,
            "minutes back to normal before it resolves (default: 5)",
        ),
        ("--count-min", "count_min", int, "do not fire with fewer requests than this"),
        ("--title", "title", str, "the rule's title in notifications"),
        ("--means", "means", str, "an explanation for notifications"),
        ("--look", "look", str, "advice for notifications: what to check next"),
    ):
        parser.add_argument(option, dest=field, type=kind, metavar="…", help=help_text)
    parser.add_argument(
        "--below", action="store_const", const=True, help="fire below the limit, not above it"
    )
    parser.add_argument(
        "--compare",
        choices=("week", "year", ""),
        help="compare with the same hour of last week, or 52 weeks ago (requires an archive)",
    )
    parser.add_argument(
        "--severity", choices=("page", "warn"), help="page: wakes someone up; warn: can wait"
    )
    parser.add_argument(
        "--app",
        dest="apps",
        action="append",
        metavar="APP",
        help="watch only this app; repeatable, * and ? are wildcards (default: every app)",
    )
    parser.add_argument(
        "--filter",
        action="append",
        type=_pair,
        metavar="LABEL=VALUE",
        help="count only this value of a label; repeatable",
    )
    parser.add_argument(
        "--limit-of",
        action="append",
        type=_limit_of,
        metavar="VALUE=LIMIT",
        help="a different limit for one value of --by; repeatable",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return name, value


def _limit_of(text: str) -> tuple[str, float]:
    name, value = _pair(text)
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, as in web=32") from None


def _app(text: str) -> str:
    return SERVICE if text == "dynometer" else text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the subcommand.

    Raises:
        ConfigError: there is no store.
        StoreUnavailable: the store does not answer.
        AlertAdminError, RuleError, ChannelError: the change is not possible or not valid.
    """
    return asyncio.run(_run_action(arguments, settings))


async def _run_action(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(AlertAdmin(store, time.time, hours_kept_s(settings)), arguments)


async def _list(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    overview = await admin.overview()
    if arguments.json:
        print(json.dumps(overview_json(overview), indent=2))
        return 0
    now_s = time.time()
    for firing in overview.firing:
        label = "FIRING" if firing.alert.phase == "firing" else "soon"
        text = describe_alert(firing.alert, firing.rule)
        if not firing.alert.summary:  # which says since when
            text += f", since {utc_time(firing.alert.since_s, now_s)}"
        print(f"{label:<7} {app_in_words(firing.app)}: {text}")
    for app, mute in sorted(overview.config.mutes.items()):
        if overview.config.is_muted(app, now_s):
            label = "acked" if mute.until_resolved else "muted"
            print(f"{label:<7} {app_in_words(app)}: {describe_mute(mute, now_s)}")
    if not overview.firing:
        print("No alert is firing.")
    for channel in overview.channels:
        _print_channel(channel, now_s)
    print("\nRULE              SEVERITY  FIRES WHEN")
    for rule in overview.config.rules.values():
        origin = "" if rule.name not in overview.config.custom_names else "  (yours)"
        state = "" if rule.enabled else "  (off)"
        print(f"{rule.name:<17} {rule.severity:<9} {describe_rule(rule)}{origin}{state}")
    _print_evaluation_state(overview, now_s)
    return 0


def _print_channel(state: ChannelState, now_s: float) -> None:
    channel, health = state.channel, state.health
    since = utc_time(health.failing_since_s, now_s) if health.failing_since_s else ""
    condition = f"failing since {since}" if since else "ok"
    error = f": {health.error}" if health.error else ""
    problems = condition + error
    problems += f", {state.queue_length} queued" if state.queue_length else ""
    print(f"channel {channel.name} ({channel.kind}): {state.masked_address}  {problems}")


def _print_evaluation_state(overview: AlertsOverview, now_s: float) -> None:
    if not overview.channels:
        print_err(
            "\nThere is no channel yet, so no notifications are sent. Add one:\n"
            f"  {command()} alerts channel add slack https://hooks.slack.com/services/…"
        )
    elif not overview.evaluated_s:
        print_err(
            f"\nRules are not being evaluated. Check that the service runs ({command()} serve)."
        )
    else:
        until = utc_time(overview.evaluated_s, now_s)
        reason = f": {overview.delay_reason}" if overview.delay_reason else ""
        print_err(f"\nEvaluated until {until}{reason}.")
        if overview.unknown_reason:
            print_err(overview.unknown_reason)


def overview_json(overview: AlertsOverview) -> dict[str, Any]:
    """Everything as JSON values, without secrets."""
    return {
        "evaluated_until": overview.evaluated_s or None,
        "waiting": overview.delay_reason,
        "unknown": overview.unknown_reason,
        "firing": [{"app": firing.app, **alert_fields(firing.alert)} for firing in overview.firing],
        "mutes": {app: mute.until_s for app, mute in overview.config.mutes.items()},
        "channels": [
            {
                "name": state.channel.name,
                "kind": state.channel.kind,
                "where": state.masked_address,
                "apps": list(state.channel.apps),
                "failing_since": state.health.failing_since_s or None,
                "error": state.health.error,
                "waiting": state.queue_length,
            }
            for state in overview.channels
        ],
        "rules": [msgspec.to_builtins(rule) for rule in overview.config.rules.values()],
    }


def alert_fields(alert: Any) -> dict[str, Any]:
    """An alert's fields by the names that the JSON output has always had."""
    return dict(zip(alert.__struct_encode_fields__, msgspec.structs.astuple(alert), strict=True))


async def _add(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    rule_fields = {
        field: value
        for field in Rule.__struct_fields__
        if (value := getattr(arguments, field, None)) is not None and field != "name"
    }
    filters: dict[str, list[str]] = {}
    for label, value in arguments.filter or ():
        filters.setdefault(label, []).append(value)
    if filters:
        rule_fields["filters"] = filters
    if arguments.limit_of:
        rule_fields["limits"] = dict(arguments.limit_of)
    rule = await admin.put_rule(arguments.name, rule_fields)
    print_err(f"{rule.name}: {describe_rule(rule)}. Takes effect within 5 seconds.")
    return 0


async def _off(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    return await _set_enabled(admin, arguments, is_enabled=False)


async def _on(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    return await _set_enabled(admin, arguments, is_enabled=True)


async def _set_enabled(
    admin: AlertAdmin, arguments: argparse.Namespace, *, is_enabled: bool
) -> int:
    rules = (await admin.overview()).config.rules
    known_names = (
        rules.keys() | FORMER_RULES.keys()
    )  # an older script may turn off one that is gone
    if unknown := [name for name in arguments.names if name not in known_names]:
        raise AlertAdminError(f"no such rule: {unknown[0]}. Choose one of: {', '.join(rules)}")
    for name in arguments.names:
        await admin.put_rule(name, {"enabled": is_enabled})
        print_err(f"{name}: {'on' if is_enabled else 'off'}. Takes effect within 5 seconds.")
    return 0


async def _remove(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        built_in_rule = await admin.remove_rule(name)
        result = "reset to the built-in rule" if built_in_rule else "removed"
        print_err(f"{name}: {result}. Takes effect within 5 seconds.")
    return 0


async def _mute(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    mute = await admin.mute(arguments.app, arguments.for_s, arguments.by)
    until = describe_mute(mute, time.time())
    print_err(f"{app_in_words(arguments.app)}: muted {until}.")
    return 0


async def _acknowledge(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    mute = await admin.acknowledge(arguments.app, arguments.by)
    until = describe_mute(mute, time.time())
    print_err(f"{app_in_words(arguments.app)}: no new notifications {until}.")
    return 0


async def _unmute(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    await admin.unmute(arguments.app)
    print_err(f"{app_in_words(arguments.app)}: unmuted. Alerts that still fire are sent now.")
    return 0


async def _history(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    entries = await admin.history(arguments.apps, HISTORY_ENTRIES)
    if arguments.json:
        rows = [{"app": app, **msgspec.to_builtins(entry)} for app, entry in entries]
        print(json.dumps(rows, indent=2))
        return 0
    now_s = time.time()
    for app, entry in entries:
        is_silent = entry.what in ("fired", "resolved") and not entry.told
        note = "  (no notification sent)" if is_silent else ""
        at = utc_time(entry.at_s, now_s)
        print(f"{at:<16} {entry.what:<9} {app_in_words(app)}: {entry.text}{note}")
    if not entries:
        print_err("The history is empty.")
    return 0


async def _test(admin: AlertAdmin, arguments: argparse.Namespace) -> int:
    names = arguments.channels or [
        state.channel.name for state in (await admin.overview()).channels
    ]
    if not names:
        raise AlertAdminError(
            f"there is no channel to test. Add one: {command()} alerts channel add slack https://…"
        )
    messages = {name: await admin.test(name) for name in names}
    deadline = time.monotonic() + TEST_WITHIN_S
    failures = 0
    for name, message in messages.items():
        problem = await _delivery_problem(admin, name, message, deadline)
        failures += bool(problem)
        print_err(f"{name}: {problem or 'delivered.'}")
    return 1 if failures else 0


async def _delivery_problem(admin: AlertAdmin, name: str, message: str, deadline: float) -> str:
    """Wait for the delivery of a test notification; returns the reason if it fails, else ""."""
    notice_at_s = time.monotonic() + _PATIENCE_S
    while await admin.is_queued(message):
        health = await admin.health(name)
        if health.error:
            return f"not delivered: {health.error}. The service will retry."
        if time.monotonic() > deadline:
            return f"not sent yet. Check that the service runs ({command()} serve)."
        if time.monotonic() > notice_at_s:
            print_err(f"{name}: waiting for the service to send the notification …")
            notice_at_s = deadline
        await asyncio.sleep(_POLL_S)
    # A removed channel, for example, takes its notifications with it. Only the record of delivery,
    # which `AlertAdmin.test` cleared, proves one.
    if not (await admin.health(name)).last_ok_s:
        return "no longer queued, but no delivery was recorded. Check the service's log."
    return ""
