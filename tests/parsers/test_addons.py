"""Samples of databases, caches and connection pools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.rollup.addon_metrics import ADDON_METRICS
from app.rollup.schema import METRICS
from parsers.addons import parse_pgbouncer, parse_postgres, parse_redis
from parsers.samples import AddonSamples, Event, ParseError

PARSERS = {"postgres": parse_postgres, "redis": parse_redis, "pgbouncer": parse_pgbouncer}
WHO = "source=DATABASE addon=postgresql-round-1"


def read(
    text: str, parse: Callable[[bytes], object] = parse_postgres
) -> dict[str, tuple[int, str]]:
    samples = parse(text.encode())
    assert isinstance(samples, AddonSamples)
    return {name: (value.millionths, value.unit) for name, value in samples.values}


def test_a_line_tells_add_on_and_attachment() -> None:
    samples = parse_postgres(f"{WHO} sample#tables=13 \n".encode())
    assert isinstance(samples, AddonSamples)
    assert (samples.addon, samples.attachment) == ("postgresql-round-1", "DATABASE")


def test_lines_before_2016_have_no_add_on() -> None:
    samples = parse_redis(b"source=REDIS sample#memory-redis=176289040bytes")
    assert isinstance(samples, AddonSamples)
    assert (samples.addon, samples.attachment) == ("", "REDIS")


@pytest.mark.parametrize(
    ("text", "name", "millionths", "unit"),
    [
        ("db_size=26219348792bytes", "db_size", 26_219_348_792_000_000, "bytes"),
        ("memory-total=8025632kB", "memory-total", 8_025_632 * 1024 * 10**6, "bytes"),
        ("memory-total=15664876.0kB", "memory-total", 15_664_876 * 1024 * 10**6, "bytes"),
        ("tmp-disk-used=543600640", "tmp-disk-used", 543_600_640_000_000, "bytes"),
        ("index-cache-hit-rate=0.99723", "index-cache-hit-rate", 997_230, ""),
        ("wal-percentage-used=0.0645198187332007", "wal-percentage-used", 64_520, ""),
        ("a-name-to-come=3.5s", "a-name-to-come", 3_500_000_000, "ms"),
    ],
)
def test_samples_have_a_unit(text: str, name: str, millionths: int, unit: str) -> None:
    assert read(f"{WHO} sample#{text}") == {f"postgres.{name}": (millionths, unit)}


def test_an_unreadable_value_is_left_out_and_the_first_of_a_name_counts() -> None:
    assert read(f"{WHO} sample#a=x sample#b=1 sample#b=2") == {"postgres.b": (1_000_000, "")}


@pytest.mark.parametrize(
    "text",
    [
        f"{WHO} sample#tables=many",
        f"{WHO} sample#tables=",
        "sample#tables=12",
        "source=DATA/BASE addon= sample#tables=12",
    ],
)
def test_a_line_without_a_value_or_a_name_is_an_error(text: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_postgres(text.encode())
    assert error.value.reason == "addon"


def test_other_lines_are_events_or_nothing() -> None:
    assert parse_postgres(b"Update DATABASE by user x") == Event("addon", "", "update DATABASE")
    assert parse_redis(b"something else") is None


@pytest.mark.parametrize("service", ADDON_METRICS)
def test_every_metric_of_the_catalogue_is_stored_in_the_unit_that_it_is_read_in(
    service: str,
) -> None:
    """A size that is logged without a unit is the case that would go wrong."""
    for row in ADDON_METRICS[service]:
        metric = METRICS[f"{service}_{row.metric}"]
        for unit in ("", "bytes"):
            samples = read(f"{WHO} sample#{row.sample}=5{unit}", PARSERS[service])
            stored_unit = samples[f"{service}.{row.sample}"][1]
            is_logged_so = unit == "bytes" or row.sample in UNITLESS
            if metric.unit == "bytes" and is_logged_so:
                assert stored_unit == metric.stored_unit == "bytes"
            if metric.unit != "bytes" and not unit:
                assert stored_unit == metric.stored_unit == ""


UNITLESS = {"tmp-disk-used", "tmp-disk-available", "avg_recv", "avg_sent"}
