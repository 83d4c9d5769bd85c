"""`dynometer alerts`: who is told of what. Works on the store, so it needs no address of a service;
the service itself does the telling.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.rule import SERVICE, Rule
from app.alerting.status import AlertsOverview, ChannelState
from app.alerting.wording import (
    app_in_words,
    describe_alert,
    minutes_in_words,
    utc_time,
    value_in_words,
)
from app.cli.alert_channels import add_channel_arguments
from app.cli.open_store import open_store
from app.config import Settings, pages_url
from app.support.about import command

_DURATION = re.compile(r"([0-9]{1,5})([mhd])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}
TEST_WITHIN_S = 30.0
_POLL_S = 0.2

Action = Callable[[AlertAdmin, argparse.Namespace], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what fires, who is told, and the rules")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(action=_list)
    adding = actions.add_parser("add", help="make a rule, or change one (of the built-in, too)")
    _add_rule_arguments(adding)
    adding.set_defaults(action=_add)
    for name, words, action in (
        ("off", "switch rules off", _off),
        ("on", "switch rules on again", _on),
        ("remove", "forget rules of your own", _remove),
    ):
        changing = actions.add_parser(name, help=words)
        changing.add_argument("names", metavar="RULE", nargs="+")
        changing.set_defaults(action=action)
    muting = actions.add_parser("mute", help="tell nothing new of an app for a while")
    muting.add_argument("app", metavar="APP", type=_app, help="or 'dynometer' for itself")
    muting.add_argument("for_s", metavar="2h", type=_duration, help="as 30m, 2h or 7d")
    muting.set_defaults(action=_mute)
    unmuting = actions.add_parser("unmute", help="tell of it again")
    unmuting.add_argument("app", metavar="APP", type=_app)
    unmuting.set_defaults(action=_unmute)
    looking = actions.add_parser("history", help="what fired and ended, the newest first")
    looking.add_argument("apps", metavar="APP", nargs="*", type=_app)
    looking.add_argument("--json", action="store_true", help="as JSON")
    looking.set_defaults(action=_history)
    testing = actions.add_parser("test", help="have the service send a test message")
    testing.add_argument("channels", metavar="CHANNEL", nargs="*", help="without one: to all")
    testing.set_defaults(action=_test)
    add_channel_arguments(actions.add_parser("channel", help="where messages go"))


def _add_rule_arguments(adding: argparse.ArgumentParser) -> None:
    adding.add_argument("name", metavar="RULE", help="a name of yours, or of a rule to change")
    for option, field, kind, words in (
        ("--metric", "metric", str, "a metric of the API, such as requests"),
        ("--stat", "stat", str, "sum, rate, p95, avg, max, …, or share (with --filter)"),
        ("--by", "by", str, "watch each value of this label by itself, as process_type"),
        ("--limit", "limit", float, "told when it is above; with --compare week a factor"),
        ("--floor", "floor", float, "with --compare week: the limit is at least this"),
        ("--resolve", "resolve", float, "what it must come back to (default: 80%% of the limit)"),
        ("--over", "over_minutes", int, "the value is that of so many minutes (default: 1)"),
        ("--for", "for_minutes", int, "so many minutes one after the other (default: 1)"),
        ("--quiet", "quiet_minutes", int, "back for so long before it is over (default: 5)"),
        ("--count-min", "count_min", int, "fewer requests than that say nothing"),
        ("--title", "title", str, "what messages call it"),
        ("--means", "means", str, "what it means, in messages"),
        ("--look", "look", str, "what to look at, in messages"),
    ):
        adding.add_argument(option, dest=field, type=kind, metavar="…", help=words)
    adding.add_argument("--below", action="store_const", const=True, help="told when it is below")
    adding.add_argument("--compare", choices=("week", ""), help="with the same hour of last week")
    adding.add_argument("--severity", choices=("page", "warn"), help="page: somebody gets up")
    adding.add_argument("--app", dest="apps", action="append", metavar="APP", help="or a pattern")
    adding.add_argument(
        "--filter", action="append", type=_pair, metavar="LABEL=VALUE", help="repeats"
    )
    adding.add_argument(
        "--limit-of",
        action="append",
        type=_pair,
        metavar="VALUE=LIMIT",
        help="of one value of --by",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected two things with = between them")
    return name, value


def _limit_of(text: str) -> tuple[str, float]:
    name, value = _pair(text)
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, as web=32") from None


def _duration(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as 30m, 2h or 7d")
    return int(match[1]) * _UNIT_S[match[2]]


def _app(text: str) -> str:
    return SERVICE if text == "dynometer" else text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: no store is known.
        StoreUnavailable: the store is away.
        DeskError, RuleError, ChannelError: what was asked cannot be done.
    """
    return asyncio.run(_with_desk(arguments, settings))


async def _with_desk(arguments: argparse.Namespace, settings: Settings) -> int:
    async with open_store(settings) as store:
        action: Action = arguments.action
        return await action(AlertAdmin(store, time.time, pages_url(settings)), arguments)


async def _list(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    found = await desk.overview()
    if arguments.json:
        print(json.dumps(described(found), indent=2))
        return 0
    now_s = time.time()
    for each in found.firing:
        sign = "FIRING" if each.alert.phase == "firing" else "soon"
        words = describe_alert(each.alert, each.rule)
        since = utc_time(each.alert.since_s, now_s)
        print(f"{sign:<7} {app_in_words(each.app)}: {words}, since {since}")
    for app, mute in sorted(found.config.mutes.items()):
        if now_s < mute.until_s:
            print(f"muted   {app_in_words(app)}: until {utc_time(mute.until_s, now_s)}")
    if not found.firing:
        print("Nothing fires.")
    for each_channel in found.channels:
        _print_channel(each_channel, now_s)
    print("\nRULE              SEVERITY  TOLD WHEN")
    for rule in found.config.rules.values():
        origin = "" if rule.name not in found.config.custom_names else "  (yours)"
        off = "" if rule.enabled else "  (off)"
        print(f"{rule.name:<17} {rule.severity:<9} {in_words(rule)}{origin}{off}")
    _say_how_it_goes(found, now_s)
    return 0


def _print_channel(state: ChannelState, now_s: float) -> None:
    channel, health = state.channel, state.health
    how = (
        "fails since " + utc_time(health.failing_since_s, now_s) if health.failing_since_s else "ok"
    )
    why = f": {health.error}" if health.error else ""
    waits = f", {state.queue_length} waiting" if state.queue_length else ""
    print(f"channel {channel.name} ({channel.kind}): {channel.masked_address}  {how}{why}{waits}")


def _say_how_it_goes(found: AlertsOverview, now_s: float) -> None:
    if not found.channels:
        _say(
            "\nNobody is told yet: the rules hold once there is a channel. Add one:\n"
            f"  {command()} alerts channel add slack https://hooks.slack.com/services/…"
        )
    elif not found.evaluated_s:
        _say(f"\nNobody evaluates at present: is the service running ({command()} serve)?")
    else:
        until = utc_time(found.evaluated_s, now_s)
        _say(
            f"\nEvaluated until {until}"
            + (f": {found.delay_reason}." if found.delay_reason else ".")
        )


def in_words(rule: Rule) -> str:
    """When a rule tells, in a line."""
    if rule.kind != "metric":
        return rule.title + (f", for {rule.limit:g} min" if rule.unit == "minutes" else "")
    side = "below" if rule.below else "above"
    limit = f"{rule.limit:g} × last week" if rule.compare else value_in_words(rule.limit, rule.unit)
    parts = [f"{label}={'|'.join(values)}" for label, values in rule.filters.items()]
    of = f" [{', '.join(parts)}]" if parts else ""
    by = f" by {rule.by}" if rule.by else ""
    floor = f" and {value_in_words(rule.floor, rule.unit)}" if rule.floor else ""
    special = "".join(f", {key}: {value:g}" for key, value in rule.limits.items())
    apps = "" if rule.apps == ("*",) else f", of {', '.join(rule.apps)}"
    lasted = f", for {minutes_in_words(rule.for_minutes)}"
    return f"{rule.stat} of {rule.metric}{of}{by} {side} {limit}{floor}{special}{lasted}{apps}"


def described(found: AlertsOverview) -> dict[str, Any]:
    """All of it for programs; no secrets."""
    return {
        "evaluated_until": found.evaluated_s or None,
        "waiting": found.delay_reason,
        "firing": [{"app": each.app, **alert_fields(each.alert)} for each in found.firing],
        "mutes": {app: mute.until_s for app, mute in found.config.mutes.items()},
        "channels": [
            {
                "name": each.channel.name,
                "kind": each.channel.kind,
                "where": each.channel.masked_address,
                "apps": list(each.channel.apps),
                "failing_since": each.health.failing_since_s or None,
                "error": each.health.error,
                "waiting": each.queue_length,
            }
            for each in found.channels
        ],
        "rules": [msgspec.to_builtins(rule) for rule in found.config.rules.values()],
    }


def alert_fields(alert: Any) -> dict[str, Any]:
    """An alert's fields by the names that the JSON has always had."""
    return dict(zip(alert.__struct_encode_fields__, msgspec.structs.astuple(alert), strict=True))


async def _add(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    given = {
        field: value
        for field in Rule.__struct_fields__
        if (value := getattr(arguments, field, None)) is not None and field != "name"
    }
    filters: dict[str, list[str]] = {}
    for label, value in arguments.filter or ():
        filters.setdefault(label, []).append(value)
    if filters:
        given["filters"] = filters
    if arguments.limit_of:
        given["limits"] = dict(arguments.limit_of)
    rule = await desk.put_rule(arguments.name, given)
    _say(f"{rule.name}: {in_words(rule)}. It holds within 5 seconds.")
    return 0


async def _off(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    return await _switch(desk, arguments, enabled=False)


async def _on(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    return await _switch(desk, arguments, enabled=True)


async def _switch(desk: AlertAdmin, arguments: argparse.Namespace, *, enabled: bool) -> int:
    known = (await desk.overview()).config.rules
    if unknown := [name for name in arguments.names if name not in known]:
        raise AlertAdminError(f"{unknown[0]}: no such rule. There are: {', '.join(known)}")
    for name in arguments.names:
        await desk.put_rule(name, {"enabled": enabled})
        _say(f"{name}: {'on' if enabled else 'off'} within 5 seconds.")
    return 0


async def _remove(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        again = await desk.remove_rule(name)
        _say(f"{name}: " + ("as it was built in, again." if again else "gone within 5 seconds."))
    return 0


async def _mute(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    mute = await desk.mute(arguments.app, arguments.for_s)
    until = utc_time(mute.until_s, time.time())
    _say(f"{app_in_words(arguments.app)}: nothing new is told until {until}.")
    return 0


async def _unmute(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    await desk.unmute(arguments.app)
    _say(f"{app_in_words(arguments.app)}: told again; what fires still is told now.")
    return 0


async def _history(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    entries = await desk.history(arguments.apps, 100)
    if arguments.json:
        print(
            json.dumps(
                [{"app": app, **msgspec.to_builtins(told)} for app, told in entries], indent=2
            )
        )
        return 0
    now_s = time.time()
    for app, told in entries:
        quiet = "" if told.told or told.what not in ("fired", "resolved") else "  (nobody was told)"
        at = utc_time(told.at_s, now_s)
        print(f"{at:<16} {told.what:<9} {app_in_words(app)}: {told.text}{quiet}")
    if not entries:
        _say("Nothing was ever told.")
    return 0


async def _test(desk: AlertAdmin, arguments: argparse.Namespace) -> int:
    names = arguments.channels or [each.channel.name for each in (await desk.overview()).channels]
    if not names:
        raise AlertAdminError(f"no channel yet: {command()} alerts channel add slack https://…")
    entries = {name: await desk.test(name) for name in names}
    deadline = time.monotonic() + TEST_WITHIN_S
    failed = 0
    for name, entry in entries.items():
        problem = await _taken(desk, name, entry, deadline)
        failed += bool(problem)
        _say(f"{name}: {problem or 'taken.'}")
    return 1 if failed else 0


async def _taken(desk: AlertAdmin, name: str, entry: str, deadline: float) -> str:
    """Why it was not; "" if it was."""
    while await desk.is_queued(entry):
        health = await desk.health(name)
        if health.error:
            return f"not taken: {health.error}. It is tried again."
        if time.monotonic() > deadline:
            return f"nobody sends it: is the service running ({command()} serve)?"
        await asyncio.sleep(_POLL_S)
    return ""


def _say(text: str) -> None:
    print(text, file=sys.stderr)
