"""The check for regressions fails on a row that is a fifth slower, and on no other."""

from __future__ import annotations

from bench.check import find_slower, format_table, kind_of_machine

SAVED = {"1 app": 5.0, "20 apps": 4.0, "gone": 1.0}


def test_only_rows_over_the_margin_are_slower() -> None:
    assert find_slower(SAVED, {"1 app": 5.9, "20 apps": 4.9, "new": 99.0}) == ["20 apps"]
    assert find_slower(SAVED, {"1 app": 6.1, "20 apps": 1.0}) == ["1 app"]
    assert find_slower({}, {"1 app": 6.1}) == []


def test_a_row_is_shown_beside_its_saved_ratio() -> None:
    shown = format_table(SAVED, {"1 app": 6.0, "new": 2.0})
    assert "| 1 app | 5.00 | 6.00 | 1.20 |" in shown
    assert "| new |  | 2.00 |  |" in shown


def test_machines_of_one_kind_share_their_ratios() -> None:
    facts = {"cpus": 2, "cpu": "AMD EPYC (Milan) @ 2.4GHz", "python": "3.13.0"}
    assert kind_of_machine(facts) == "2-amd-epyc-milan-2.4ghz-python3.13"
    assert kind_of_machine({**facts, "python": "3.13.7"}) == kind_of_machine(facts)
    assert kind_of_machine({**facts, "cpus": 4}) != kind_of_machine(facts)
