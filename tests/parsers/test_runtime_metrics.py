"""Runtime metrics become exact whole numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.runtime_metrics import parse
from parsers.samples import ParseError

HEAD = "source=web.1 dyno=heroku.1.0f0f"


def read(samples: str) -> dict[str, int]:
    metrics = parse("web.1", f"{HEAD} {samples}\n".encode())
    assert metrics is not None
    return dict(metrics.values)


MEMORY = (
    "sample#memory_total=21.05MB sample#memory_rss=20.00MB sample#memory_cache=1.05MB "
    "sample#memory_swap=0.00MB sample#memory_pgpgin=348836pages sample#memory_pgpgout=343403pages"
)


def test_memory_is_stored_in_hundredths_of_a_megabyte_and_pages_unchanged() -> None:
    assert read(f"{MEMORY} sample#memory_quota=512.00MB") == {
        "memory_total_bytes": 2_105,
        "memory_rss_bytes": 2_000,
        "memory_cache_bytes": 105,
        "memory_swap_bytes": 0,
        "memory_quota_bytes": 51_200,
        "memory_pgpgin_pages": 348_836,
        "memory_pgpgout_pages": 343_403,
        "memory_quota_used_ratio": 41_113,  # 21.05 / 512 in millionths, rounded
    }


def test_without_a_quota_there_is_no_ratio() -> None:
    values = read(MEMORY)
    assert "memory_quota_bytes" not in values
    assert "memory_quota_used_ratio" not in values
    assert "memory_quota_used_ratio" not in read(f"{MEMORY} sample#memory_quota=0.00MB")


def test_a_ratio_with_over_15_digits_is_left_out() -> None:
    values = read("sample#memory_total=9999999999.99MB sample#memory_quota=0.01MB")
    assert values == {"memory_total_bytes": 999_999_999_999, "memory_quota_bytes": 1}


def test_load_is_stored_in_hundredths() -> None:
    for last in ("0.90", "0.9", "0.900"):
        values = read(f"sample#load_avg_1m=2.46 sample#load_avg_5m=1.06 sample#load_avg_15m={last}")
        assert values == {"load_avg_1m": 246, "load_avg_5m": 106, "load_avg_15m": 90}


def test_common_and_other_lines_are_read_alike() -> None:
    memory = f"{MEMORY} sample#memory_quota=512.00MB"
    assert read(memory) == read(f"{memory} sample#new=1")
    assert read(MEMORY) == read(f"{MEMORY} sample#new=1")
    load = "sample#load_avg_1m=2.46 sample#load_avg_5m=1.06 sample#load_avg_15m=0.99"
    assert read(load) == read(f"{load} sample#new=1")


@pytest.mark.parametrize(
    ("quantity", "hundredths_of_mb"),
    [
        ("512.00MB", 51_200),
        ("512MB", 51_200),
        ("0.5MB", 50),
        ("1.005MB", 101),
        ("1.004MB", 100),
        ("1GB", 102_400),
        ("512kB", 50),
        ("1048576B", 100),
        ("1048576bytes", 100),
        ("882M", 88_200),
        ("9999999999999.99MB", 999_999_999_999_999),
        ("9765624999999.99GB", None),
        ("9765624999.99GB", 999_999_999_998_976),
        ("512.00", None),
    ],
)
def test_quantities_have_units_and_at_most_15_digits(
    quantity: str, hundredths_of_mb: int | None
) -> None:
    values = read(f"sample#memory_total={quantity} sample#load_avg_1m=0.00")
    assert values.get("memory_total_bytes") == hundredths_of_mb


def test_order_does_not_matter_and_unknown_names_are_skipped() -> None:
    values = read("sample#memory_rss=2.00MB sample#new=5x sample#memory_total=3.00MB")
    assert values == {"memory_rss_bytes": 200, "memory_total_bytes": 300}


def test_the_first_occurrence_of_a_repeated_name_counts() -> None:
    assert read("sample#load_avg_1m=1.00 sample#load_avg_1m=9.00") == {"load_avg_1m": 100}


def test_an_unreadable_value_costs_no_other_value() -> None:
    assert read("sample#load_avg_1m=-1.00 sample#load_avg_5m=1.00") == {"load_avg_5m": 100}


@pytest.mark.parametrize("value", ["", "x", "-5MB", "+5MB", "1e3MB", "5XB", "١MB", "1_0MB"])
def test_a_line_without_a_readable_value_is_an_error(value: str) -> None:
    with pytest.raises(ParseError) as error:
        parse("web.1", f"{HEAD} sample#memory_total={value}".encode())
    assert error.value.reason == "runtime"


def test_a_line_without_a_known_name_gives_nothing() -> None:
    assert parse("web.1", f"{HEAD} sample#db_size=5bytes".encode()) is None


@given(st.binary(max_size=120))
def test_arbitrary_bytes_raise_nothing_but_parse_errors(data: bytes) -> None:
    for text in (data, b"source=x sample#memory_total=" + data):
        try:
            parse("web.1", text)
        except ParseError as error:
            assert error.reason == "runtime"
