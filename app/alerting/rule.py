"""A rule: when somebody is to be told about an app, and what it then means.

Most rules ask a question of the API about the last minutes ("metric"). The others look at what no
metric says: an app that fell silent, and Dynometer itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Literal

import msgspec

from app.query.planner import QueryError, QueryRequest, plan
from app.rollup.resolutions import resolutions
from app.support.errors import UserError
from parsers.metrics import METRICS

Kind = Literal["metric", "no_data", "lost", "folding", "buffering", "channel"]

SERVICE = "-"  # stands for Dynometer itself where an app is named; it is no name of an app
SERVICE_KINDS = frozenset({"folding", "buffering", "channel"})
RULES_MAX = 100
MINUTES_MAX = 60  # that a value is over, and that a rule waits
SHARE = "share"  # the stat of a counter: those that the filters name, of all of them
RESOLVE_SHARE = 0.8  # of the limit, where a rule says nothing else
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NAME_RULE = "lower-case letters, digits and dashes, 40 at most"
_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")
_TEXT_LENGTH_MAX = 400
# Any will do to check a question: what a rule asks is of the last minutes.
_RESOLUTIONS = resolutions(86_400, 86_400, 86_400)
_PART_OF = frozenset({"outcome", "status", "status_class", "code", "exit_status"})


class RuleError(UserError):
    """This is no rule; the message says what would be."""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When `stat` of `metric` over the last `over_minutes` is above `limit` (below it, if `below`)
    in `for_minutes` minutes one after the other.

    compare     "": `limit` is a value of the metric. "week": it is a factor; the value is compared
                with so many times that of the same hour of last week, or with `floor` if that is
                more
    by          a label: each of its values is watched by itself
    told_by     a label: messages name those of its values that it is about, such as codes
    limits      of some of these values, instead of `limit`: {"web": 8}
    count_min   fewer requests than that say nothing
    resolve     what the value must come back to, in the unit of `limit`; None for 80 % of it
    quiet_minutes   for how long, before it is over
    severity    page: somebody should get up; warn: somebody should look when at work
    explained_by    rules whose alerts explain this one: while they fire, it is not told by itself
    """

    name: str
    title: str
    kind: Kind = "metric"
    apps: tuple[str, ...] = ("*",)
    metric: str = ""
    stat: str = ""
    filters: dict[str, tuple[str, ...]] = {}
    by: str = ""
    told_by: str = ""
    over_minutes: int = 1
    below: bool = False
    limit: float = 0
    limits: dict[str, float] = {}
    compare: Literal["", "week"] = ""
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

    def is_about(self, app: str) -> bool:
        """Whether the rule watches this app; SERVICE has rules of its own kinds."""
        if self.kind in SERVICE_KINDS or app == SERVICE:
            return self.kind in SERVICE_KINDS and app == SERVICE
        return any(fnmatchcase(app, glob) for glob in self.apps)

    def limit_of(self, key: str) -> float:
        """The limit for a value of `by`; a factor, if it is compared."""
        return self.limits.get(key, self.limit)

    def resolve_limit_of(self, key: str) -> float:
        """What the value must come back to; a factor, where the limit is one."""
        if self.resolve is not None and key not in self.limits:
            return self.resolve
        limit = self.limit_of(key)
        return limit / RESOLVE_SHARE if self.below else limit * RESOLVE_SHARE

    @property
    def unit(self) -> str:
        """Of its values."""
        if self.kind == "metric":
            return "ratio" if self.stat == SHARE else METRICS[self.metric].unit
        return {"lost": "messages"}.get(self.kind, "minutes")

    @property
    def asked(self) -> QueryRequest:
        """Its question, for the API; of a share that of its numerator."""
        stat = "sum" if self.stat == SHARE else self.stat
        by = [self.by] if self.by else []
        return QueryRequest(self.metric, [stat], by, self.filters, "0", "60", "range")

    @property
    def whole(self) -> dict[str, tuple[str, ...]]:
        """The filters of what a share is a share of."""
        return {label: each for label, each in self.filters.items() if label not in _PART_OF}


def check(rule: Rule) -> Rule:
    """The rule.

    Raises:
        RuleError: it cannot be used as it is.
    """
    if not NAME.fullmatch(rule.name):
        raise RuleError(f"name={rule.name}: expected {NAME_RULE}")
    if not rule.apps or not all(_GLOB.fullmatch(glob) for glob in rule.apps):
        raise RuleError("apps: expected names of apps, or patterns such as blog-*")
    for minutes, field in (
        (rule.over_minutes, "over_minutes"),
        (rule.for_minutes, "for_minutes"),
        (rule.quiet_minutes, "quiet_minutes"),
    ):
        if not 1 <= minutes <= MINUTES_MAX:
            raise RuleError(f"{field}={minutes}: expected 1 to {MINUTES_MAX}")
    for text in (rule.title, rule.means, rule.look):
        if len(text) > _TEXT_LENGTH_MAX or not text.isprintable():
            raise RuleError(f"title, means and look: a line of at most {_TEXT_LENGTH_MAX} letters")
    numbers = (rule.limit, rule.floor, rule.resolve or 0, *rule.limits.values())
    if not all(isfinite(number) for number in numbers):
        raise RuleError("limit, limits, floor and resolve: expected numbers that are finite")
    if rule.kind == "metric":
        _check_question(rule)
    elif rule.unit == "minutes" and rule.limit < 1:
        raise RuleError(f"limit={rule.limit:g}: expected minutes, at least 1")
    if rule.limits and not rule.by:
        raise RuleError("limits: expected a label in by, as in by=process_type")
    wrong_side = rule.resolve is not None and (
        rule.resolve < rule.limit if rule.below else rule.resolve > rule.limit
    )
    if wrong_side:
        raise RuleError("resolve lies on the wrong side of limit: nothing would ever be over")
    return rule


def _check_question(rule: Rule) -> None:
    if rule.metric not in METRICS:
        raise RuleError(f"metric={rule.metric}: expected one of {', '.join(METRICS)}")
    metric = METRICS[rule.metric]
    if rule.stat == SHARE and (metric.kind != "counter" or not _PART_OF & set(rule.filters)):
        raise RuleError(
            "stat=share: expected a counter, and a filter that says which part of it, "
            "as in metric=requests, outcome=failed"
        )
    if rule.by == "app" or "app" in rule.filters:
        raise RuleError("app is no label of a rule: name them in apps")
    if rule.stat == "bins" or not rule.stat:
        raise RuleError(f"stat={rule.stat}: expected one value, such as p95, avg, sum or share")
    if rule.count_min and metric.name not in ("requests", "service_time_ms", "connect_time_ms"):
        raise RuleError("count_min: only for requests and their times")
    if rule.told_by and rule.told_by not in metric.labels:
        raise RuleError(f"told_by={rule.told_by}: expected one of {', '.join(metric.labels)}")
    if rule.compare and rule.below:
        raise RuleError("compare=week: expected a limit above, not below")
    try:
        plan(rule.asked, _RESOLUTIONS, 0)
    except QueryError as error:
        raise RuleError(
            f"{error.parameter}={error.value}: expected {error.accepted_values}"
        ) from None


def pack_rule(rule: Rule) -> bytes:
    """As the store keeps it."""
    return msgspec.json.encode(rule)


def unpack_rule(record: bytes) -> Rule:
    """
    Raises:
        msgspec.MsgspecError: this is no rule.
    """
    return msgspec.json.decode(record, type=Rule)


def rule_of(given: Mapping[str, Any]) -> Rule:
    """A rule from its fields.

    Raises:
        RuleError: a field is unknown, or cannot be used.
    """
    known = Rule.__struct_fields__
    if unknown := [name for name in given if name not in known]:
        raise RuleError(f"{unknown[0]}: no field of a rule, which are {', '.join(known)}")
    try:
        return check(msgspec.convert(dict(given), type=Rule, strict=False))
    except msgspec.ValidationError as error:
        raise RuleError(str(error)) from None


def merged(pack: Sequence[Rule], own: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that hold, by name: those of the pack, and the operator's own, which replace one of
    the same name.
    """
    return {**{rule.name: rule for rule in pack}, **own}
