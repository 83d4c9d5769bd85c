"""The limits of open metrics. That they keep the laws of merging is told in test_rollup.py."""

from __future__ import annotations

import pytest

from app.rollup.number_sketch import ZERO_BIN
from app.rollup.rollup import DEFAULT_LIMITS, Rollup
from app.rollup.schema import FAMILIES, SECTION
from parsers.numbers import Quantity
from parsers.samples import AddonSamples, CustomMark, CustomMarks

AT_MS = 1_795_341_600_000
ONE = Quantity(10**6, 1.0, "")


def observe(*marks: tuple[str, str], source: str = "web.1", origin: str = "") -> Rollup:
    rollup = Rollup()
    sample = CustomMarks(source, origin, tuple(CustomMark(kind, name, ONE) for kind, name in marks))
    rollup.observe(sample, AT_MS)
    return rollup


def merge(*rollups: Rollup, **limits: int) -> Rollup:
    result = Rollup()
    for rollup in rollups:
        result.merge(rollup)
    result.apply_limits(DEFAULT_LIMITS._replace(**limits))
    return result


def test_the_first_names_stay_in_all_sections_together() -> None:
    marks = [("count", "b"), ("sample", "a"), ("measure", "c"), ("count", "c"), ("measure", "b")]
    rollup = merge(observe(*marks), open_names=2)
    assert {key[1] for key in rollup.custom_counts} == {"b"}
    assert {key[1] for key in rollup.custom_samples} == {"a"}
    assert {key[1] for key in rollup.custom_measures} == {"b"}
    assert rollup.custom_sketches.keys() == rollup.custom_measures.keys()
    assert rollup.ledger == {"dropped:custom": 2}


def test_queue_time_comes_before_all_names() -> None:
    rollup = merge(observe(("measure", "a"), ("measure", "queue_time")), open_names=1)
    assert [key[1] for key in rollup.custom_measures] == ["queue_time"]


def test_sources_and_units_make_series() -> None:
    rollups = [observe(("count", "a"), origin=f"s{number}") for number in range(5)]
    rollup = merge(*rollups, open_series=3)
    assert sorted(key[3] for key in rollup.custom_counts) == ["s0", "s1", "s2"]
    assert rollup.ledger == {"dropped:custom": 2}


def test_dynos_beyond_the_rows_are_added_up_and_not_dropped() -> None:
    rollups = [observe(("count", "a"), ("sample", "g"), source=f"web.{n}") for n in range(1, 6)]
    rollup = merge(*rollups, open_series=2)
    assert {key[0]: value.count for key, value in rollup.custom_counts.items()} == {
        **{"web.1": 1, "web.2": 1},
        "other": 3,
    }
    assert sum(value.count for value in rollup.custom_samples.values()) == 5
    assert rollup.ledger == {}


def test_names_of_dynos_in_custom_metrics_do_not_compete_with_others() -> None:
    rollup = merge(observe(("count", "a"), source="web.9"), dynos=1, process_types=1)
    assert [key[0] for key in rollup.custom_counts] == ["web.9"]


def test_beyond_the_bins_a_measure_has_all_but_percentiles() -> None:
    rollup = observe(("measure", "a"), ("measure", "b"), ("measure", "c"))
    for name, size in (("a", 3), ("b", 4), ("c", 1)):
        rollup.custom_sketches["web", name, "", ""] = dict.fromkeys(
            range(ZERO_BIN, ZERO_BIN + size), 1
        )
    rollup = merge(rollup, open_bins=5)
    assert sorted(key[1] for key in rollup.custom_sketches) == ["a", "b"]  # b began within
    assert sorted(key[1] for key in rollup.custom_measures) == ["a", "b", "c"]
    assert rollup.ledger == {}


def test_each_family_has_limits_of_its_own() -> None:
    rollup = observe(("count", "a"), ("count", "b"))
    names = ("postgres.tables", "postgres.x", "redis.y")
    rollup.observe(AddonSamples("pg", "DATABASE", tuple((name, ONE) for name in names)), AT_MS)
    rollup = merge(rollup, open_names=2)
    assert len(rollup.custom_counts) == 2
    assert {key[1] for key in rollup.addon_samples} == {"postgres.tables", "postgres.x"}
    assert rollup.ledger == {"dropped:addon": 1}


def test_a_section_of_a_family_has_the_name_in_its_second_column() -> None:
    for names in FAMILIES.values():
        for name in names:
            assert [key.name for key in SECTION[name].keys][1:3] == ["name", "unit"]


@pytest.mark.parametrize("cut", [{}, {"open_names": 1}, {"open_series": 1}, {"open_bins": 1}])
def test_limits_change_nothing_that_they_have_cut_before(cut: dict[str, int]) -> None:
    marks = [(kind, name) for kind in ("count", "sample", "measure") for name in "abc"]
    once = merge(*(observe(*marks, source=f"web.{n}", origin=f"s{n}") for n in range(3)), **cut)
    twice = merge(once, **cut)
    assert vars(twice) == vars(once)
