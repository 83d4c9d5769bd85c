"""Alert rules: the condition under which people are notified, and the explanation sent.

Rules of the kind "finding" fire from the verdict of an app. Those of the kind "metric" evaluate
a query of the API over the last minutes. The other kinds are about conditions without a metric: a
silent app, lost lines, many apps at the same time, and Dynometer itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec

from app.judgement.verdict import FINDINGS, STATES
from app.query.planner import ACCEPTED_METRICS, QueryError, QueryRequest, plan
from app.query.unmatched import impossible_filter
from app.rollup.open_metrics import find_metric, is_open, known_metric
from app.rollup.resolutions import resolutions
from app.support.errors import UserError
from app.support.globs import matches_glob

Kind = Literal["finding", "metric", "no_data", "lost", "fleet", "folding", "buffering", "channel"]
Compare = Literal["", "week", "year"]

SERVICE = "-"  # stands for Dynometer itself in place of an app; no app can have this name
SERVICE_KINDS = frozenset({"fleet", "folding", "buffering", "channel"})
# The units of the values of findings, by kind; those of other kinds are durations in minutes.
FINDING_UNITS = {
    "failing": "ratio",
    "no_dyno": "requests",
    "slow": "ms",
    "memory_exceeded": "ratio",
    "memory_killed": "errors",
    "memory_high": "ratio",
    "crash_loop": "crashes",
    "unreadable": "messages",
}
RULES_MAX = 100
MINUTES_MAX = 60  # of over_minutes, for_minutes and quiet_minutes
SHARE = "share"  # a stat of counters: the part that matches the filters, as a share of the total
RESOLVE_SHARE = 0.8  # of the limit; the default of `resolve`
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NAME_RULE = "lower-case letters, digits and dashes, 40 at most"
_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")
_TEXT_LENGTH_MAX = 400
# Only for validation, where any will do: rules query the last minutes.
_RESOLUTIONS = resolutions(86_400, 86_400, 86_400)
_SHARE_LABELS = frozenset({"outcome", "status", "status_class", "code", "exit_status"})


class RuleError(UserError):
    """A rule is not valid; the message says how to correct it."""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fires when `stat` of `metric` over the last `over_minutes` is above `limit` (with `below`,
    below it) for `for_minutes` consecutive minutes. A rule of the kind "finding" fires while an app
    has a finding of one of these kinds. Stored as JSON.

    findings    the kinds of findings, keys of app.judgement.verdict.FINDINGS
    states      the states of the findings that make it fire; empty for all. In another state, a
                finding only keeps an alert firing
    compare     "": `limit` is a value of the metric. "week", "year": it is a factor. The value is
                compared with this factor times the value in the same hour one week or 52 weeks
                before, or with `floor` if that is greater
    by          a label: each of its values is evaluated separately
    told_by     a label whose values are named in notifications, such as `code`
    limits      different limits for some values of `by`: {"web": 8}
    count_min   with fewer requests than this, the rule does not fire
    resolve     the value must return to this, in the unit of `limit`; None: see RESOLVE_SHARE
    quiet_minutes   it must stay there for so many minutes before the alert resolves
    severity    page: wakes someone up; warn: can wait until someone is at work
    explained_by    rules that inhibit this one: while they fire, it sends no notification
    """

    name: str
    title: str
    kind: Kind = "metric"
    apps: tuple[str, ...] = ("*",)
    findings: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    metric: str = ""
    stat: str = ""
    filters: dict[str, tuple[str, ...]] = {}
    by: str = ""
    told_by: str = ""
    over_minutes: int = 1
    below: bool = False
    limit: float = 0
    limits: dict[str, float] = {}
    compare: Compare = ""
    floor: float = 0
    count_min: int = 0
    for_minutes: int = 1
    resolve: float | None = None
    quiet_minutes: int = 5
    severity: Literal["page", "warn"] = "warn"
    explained_by: tuple[str, ...] = ()
    means: str = ""
    look: str = ""
    enabled: bool = True

    def applies_to(self, app: str) -> bool:
        """Whether the rule is about this app. SERVICE has rules of its own kinds."""
        if self.kind in SERVICE_KINDS or app == SERVICE:
            return self.kind in SERVICE_KINDS and app == SERVICE
        return any(matches_glob(app, glob) for glob in self.apps)

    def limit_of(self, key: str) -> float:
        """The limit for a value of `by`; a factor, if the rule compares."""
        return self.limits.get(key, self.limit)

    def resolve_limit_of(self, key: str) -> float:
        """The resolve limit for a value of `by`; a factor, if the limit is one."""
        if self.resolve is not None and key not in self.limits:
            return self.resolve
        limit = self.limit_of(key)
        return limit / RESOLVE_SHARE if self.below else limit * RESOLVE_SHARE

    @property
    def unit(self) -> str:
        """The unit of the rule's values."""
        if self.kind == "metric":
            stored_units = self.filters.get("unit", ("",))
            return (
                "ratio" if self.stat == SHARE else known_metric(self.metric).unit or stored_units[0]
            )
        if self.kind == "finding":
            return FINDING_UNITS.get(self.findings[0], "minutes")
        return {"lost": "messages", "fleet": "apps"}.get(self.kind, "minutes")

    @property
    def query_request(self) -> QueryRequest:
        """The rule as a query of the API; for a share, the query of its numerator."""
        stat = "sum" if self.stat == SHARE else self.stat
        by = [self.by] if self.by else []
        return QueryRequest(self.metric, [stat], by, self.filters, "0", "60", "range")

    @property
    def total_filters(self) -> dict[str, tuple[str, ...]]:
        """The filters for the denominator of a share."""
        return {
            label: values for label, values in self.filters.items() if label not in _SHARE_LABELS
        }


def check(rule: Rule) -> Rule:
    """Return the rule if it is valid.

    Raises:
        RuleError
    """
    if not NAME.fullmatch(rule.name):
        raise RuleError(f"name={rule.name}: expected {NAME_RULE}")
    if not rule.apps or not all(_GLOB.fullmatch(glob) for glob in rule.apps):
        raise RuleError("apps: expected app names, or patterns such as blog-*")
    for minutes, field in (
        (rule.over_minutes, "over_minutes"),
        (rule.for_minutes, "for_minutes"),
        (rule.quiet_minutes, "quiet_minutes"),
    ):
        if not 1 <= minutes <= MINUTES_MAX:
            raise RuleError(f"{field}={minutes}: expected 1 to {MINUTES_MAX}")
    for text in (rule.title, rule.means, rule.look):
        if len(text) > _TEXT_LENGTH_MAX or not text.isprintable():
            raise RuleError(
                f"title, means, look: expected one line of at most {_TEXT_LENGTH_MAX} characters"
            )
    numbers = (rule.limit, rule.floor, rule.resolve or 0, *rule.limits.values())
    if not all(isfinite(number) for number in numbers):
        raise RuleError("limit, limits, floor, resolve: expected finite numbers")
    if rule.kind == "metric":
        _check_metric_rule(rule)
    elif rule.kind == "finding":
        _check_finding_rule(rule)
    elif rule.unit == "minutes" and rule.limit < 1:
        raise RuleError(f"limit={rule.limit:g}: expected minutes, at least 1")
    if rule.limits and not rule.by:
        raise RuleError("limits: requires a label in by, as in by=process_type")
    if rule.resolve is not None and (
        rule.resolve < rule.limit if rule.below else rule.resolve > rule.limit
    ):
        raise RuleError(
            f"resolve={rule.resolve:g} is on the wrong side of limit={rule.limit:g}: alerts would "
            "never resolve"
        )
    return rule


def _check_finding_rule(rule: Rule) -> None:
    for names, accepted, field in (
        (rule.findings or ("",), FINDINGS, "findings"),
        (rule.states, STATES, "states"),
    ):
        for name in names:
            if name not in accepted:
                raise RuleError(f"{field}={name}: expected some of {', '.join(accepted)}")
    if rule.by not in ("", "process_type"):
        raise RuleError(f"by={rule.by}: expected process_type, or nothing")


def _check_metric_rule(rule: Rule) -> None:
    metric = find_metric(rule.metric)
    if metric is None:
        raise RuleError(f"metric={rule.metric}: expected one of {ACCEPTED_METRICS}")
    if is_open(metric.name) and len(rule.filters.get("unit", ())) != 1:
        raise RuleError(
            f"unit: required for {metric.name}, since values of different units are never added "
            'up. Write unit=ms for times, or unit="" for numbers without a unit'
        )
    if rule.stat == SHARE and (metric.kind != "counter" or not _SHARE_LABELS & set(rule.filters)):
        raise RuleError(
            "stat=share: requires a counter and a filter for the part of it, as in "
            "metric=requests, outcome=failed"
        )
    if rule.by == "app" or "app" in rule.filters:
        raise RuleError("app cannot be used in by or filters. Use apps instead")
    if rule.stat == "bins" or not rule.stat:
        raise RuleError(f"stat={rule.stat}: expected one value, such as p95, avg, sum or share")
    if rule.count_min and metric.name not in ("requests", "service_time_ms", "connect_time_ms"):
        raise RuleError("count_min: only for requests, service_time_ms and connect_time_ms")
    if rule.told_by and rule.told_by not in metric.labels:
        raise RuleError(f"told_by={rule.told_by}: expected one of {', '.join(metric.labels)}")
    if rule.compare and rule.below:
        raise RuleError(f"compare={rule.compare} cannot be combined with below")
    try:
        query, _ = plan(rule.query_request, _RESOLUTIONS, 0)
    except QueryError as error:
        raise RuleError(
            f"{error.parameter}={error.value}: expected {error.accepted_values}"
        ) from None
    if impossible := impossible_filter(query.filters):
        label, value, accepted_values = impossible
        raise RuleError(f"{label}={value} can never match: expected {accepted_values}")


def pack_rule(rule: Rule) -> bytes:
    """Encode a rule for the store (JSON)."""
    return msgspec.json.encode(rule)


def unpack_rule(record: bytes) -> Rule:
    """
    Raises:
        msgspec.MsgspecError: the record is not a rule.
    """
    return msgspec.json.decode(record, type=Rule)


def build_rule(fields: Mapping[str, Any]) -> Rule:
    """Build a rule from its fields.

    Raises:
        RuleError: a field is unknown or not valid.
    """
    names = Rule.__struct_fields__
    if unknown := [name for name in fields if name not in names]:
        raise RuleError(f"{unknown[0]}: unknown field. Fields are {', '.join(names)}")
    try:
        return check(msgspec.convert(dict(fields), type=Rule, strict=False))
    except msgspec.ValidationError as error:
        raise RuleError(str(error)) from None


def merge_rules(defaults: Sequence[Rule], custom: Mapping[str, Rule]) -> dict[str, Rule]:
    """All rules by name. A custom rule replaces a built-in one of the same name."""
    return {**{rule.name: rule for rule in defaults}, **custom}
