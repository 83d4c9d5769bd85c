"""What can be a rule."""

from __future__ import annotations

from typing import Any

import pytest

from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.rule import SERVICE, Rule, RuleError, check, pack_rule, rule_of, unpack_rule


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_every_built_in_rule_is_one_and_explains_itself(rule: Rule) -> None:
    assert unpack_rule(pack_rule(check(rule))) == rule
    assert rule.title
    assert rule.means.endswith(".")
    assert rule.look
    names = {each.name for each in DEFAULT_RULES}
    assert set(rule.explained_by) <= names


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "No"}, "name=No: expected lower-case"),
        ({"apps": []}, "apps: expected names"),
        ({"apps": ["a b"]}, "apps: expected names"),
        ({"for_minutes": 61}, "for_minutes=61: expected 1 to 60"),
        ({"title": "two\nlines"}, "a line of at most"),
        ({"limit": float("inf")}, "finite"),
        ({"kind": "no_data", "limit": 0}, "expected minutes, at least 1"),
        ({"by": "app"}, "app is no label of a rule"),
        ({"by": "code"}, "by=code: expected"),
        ({"told_by": "code"}, "told_by=code: expected"),
        ({"limits": {"web": 1}}, "limits: expected a label in by"),
        ({"stat": "bins"}, "stat=bins: expected"),
        ({"compare": "week", "below": True}, "compare=week"),
        ({"metric": "load_avg_1m", "stat": "max", "count_min": 5}, "count_min"),
        ({"limit": "much"}, "limit"),
        ({"nothing": 1}, "nothing: no field of a rule"),
    ],
)
def test_what_cannot_be_one_says_what_could(fields: dict[str, Any], said: str) -> None:
    given = {"name": "mine", "title": "", "metric": "requests", "stat": "sum", "limit": 5}
    with pytest.raises(RuleError) as refused:
        rule_of({**given, **fields})
    assert said in str(refused.value)


def test_which_apps_a_rule_is_about() -> None:
    blogs = Rule(name="a", title="", apps=("blog-*",))
    service = Rule(name="b", title="", kind="folding", apps=("blog-*",))

    assert blogs.is_about("blog-1")
    assert not blogs.is_about("shop")
    assert not blogs.is_about(SERVICE)
    assert service.is_about(SERVICE)
    assert not service.is_about("blog-1")
