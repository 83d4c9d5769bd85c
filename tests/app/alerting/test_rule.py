"""Validation of rules."""

from __future__ import annotations

from typing import Any

import pytest

from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.rule import SERVICE, Rule, RuleError, build_rule, check, pack_rule, unpack_rule


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_every_built_in_rule_is_valid_and_explains_itself(rule: Rule) -> None:
    assert unpack_rule(pack_rule(check(rule))) == rule
    assert rule.title
    assert rule.means.endswith(".")
    assert rule.look
    names = {rule.name for rule in DEFAULT_RULES}
    assert set(rule.explained_by) <= names


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "No"}, "name=No: expected lower-case"),
        ({"apps": []}, "apps: expected app names"),
        ({"apps": ["a b"]}, "apps: expected app names"),
        ({"for_minutes": 61}, "for_minutes=61: expected 1 to 60"),
        ({"title": "two\nlines"}, "expected one line of at most"),
        ({"limit": float("inf")}, "finite"),
        ({"kind": "no_data", "limit": 0}, "expected minutes, at least 1"),
        ({"by": "app"}, "app cannot be used in by"),
        ({"by": "code"}, "by=code: expected"),
        ({"told_by": "code"}, "told_by=code: expected"),
        ({"limits": {"web": 1}}, "limits: requires a label in by"),
        ({"stat": "bins"}, "stat=bins: expected"),
        ({"filters": {"status": ["777"]}}, "status=777 can never match: expected 100 to 599"),
        ({"filters": {"outcome": ["fail"]}}, "expected failed, maintenance, ok"),
        ({"compare": "week", "below": True}, "compare=week"),
        ({"compare": "year", "below": True}, "compare=year"),
        ({"compare": "month"}, "compare"),
        ({"metric": "load_avg_1m", "stat": "max", "count_min": 5}, "count_min"),
        ({"limit": "much"}, "limit"),
        ({"nothing": 1}, "nothing: unknown field"),
    ],
)
def test_an_invalid_rule_is_rejected_with_a_hint(fields: dict[str, Any], message: str) -> None:
    valid = {"name": "mine", "title": "", "metric": "requests", "stat": "sum", "limit": 5}
    with pytest.raises(RuleError) as error:
        build_rule({**valid, **fields})
    assert message in str(error.value)


def test_a_rule_applies_to_matching_apps() -> None:
    blogs = Rule(name="a", title="", apps=("blog-*",))
    service = Rule(name="b", title="", kind="folding", apps=("blog-*",))

    assert blogs.applies_to("blog-1")
    assert not blogs.applies_to("shop")
    assert not blogs.applies_to(SERVICE)
    assert service.applies_to(SERVICE)
    assert not service.applies_to("blog-1")
