"""Which records the log cleaner could have removed."""

from __future__ import annotations

from app.kafka.compaction import oldest_closed_s
from app.kafka.secrets_topic import KeyedTime

SEGMENT_S = 10


def closed_s(*records: tuple[str, float]) -> float:
    times = [KeyedTime(key.encode(), at_s) for key, at_s in records]
    return oldest_closed_s(times, SEGMENT_S)


def test_a_topic_without_replaced_records_has_nothing_to_remove() -> None:
    assert closed_s() == 0
    assert closed_s(("shop", 0), ("blog", 100), ("docs", 200)) == 0


def test_a_replaced_record_waits_for_the_cleaner_once_its_segment_is_closed() -> None:
    assert closed_s(("shop", 0), ("shop", 5)) == 0
    assert closed_s(("shop", 0), ("shop", 5), ("blog", 15)) == 0
    assert closed_s(("shop", 0), ("shop", 5), ("blog", 16)) == 16


def test_the_segment_of_the_newer_record_counts() -> None:
    assert closed_s(("shop", 0), ("blog", 20), ("shop", 30)) == 0
    assert closed_s(("shop", 0), ("blog", 20), ("shop", 30), ("blog", 41)) == 41


def test_a_quiet_topic_does_not_accuse_the_cleaner() -> None:
    assert closed_s(("shop", 0), ("shop", 1)) == 0
    assert closed_s(("shop", 0), ("shop", 1), ("", 1_000_000)) == 1_000_000
