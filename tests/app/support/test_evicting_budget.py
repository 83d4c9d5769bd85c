"""Whoever uses up a budget is the one who loses."""

from __future__ import annotations

from app.support.evicting_budget import EvictingBudget


def test_the_oldest_holder_of_the_largest_group_is_evicted() -> None:
    evicted: list[str] = []
    budget = EvictingBudget[str](5, evicted.append)
    for holder in ("a1", "b1", "a2", "a3", "b2", "c1", "c2"):
        budget.hold(holder, holder[0])
    assert evicted == ["a1", "a2"]
    assert budget.amount == 5


def test_amounts_count_and_grow() -> None:
    evicted: list[str] = []
    budget = EvictingBudget[str](100, evicted.append)
    budget.hold("small", "one", 10)
    for amount in (10, 60, 95):
        budget.hold("large", "other", amount)
    assert evicted == ["large"]
    assert budget.amount == 10
    budget.release("small")
    budget.release("small")
    assert budget.amount == 0
    assert not budget.evict_one()


def test_a_holder_may_change_its_group() -> None:
    evicted: list[str] = []
    budget = EvictingBudget[str](2, evicted.append)
    budget.hold("a1", "a")
    budget.hold("x", "a")
    budget.hold("x", "b")
    budget.hold("a2", "a")
    assert evicted == ["a1"]
    assert budget.is_oldest("x")
    assert budget.is_oldest("a2")
