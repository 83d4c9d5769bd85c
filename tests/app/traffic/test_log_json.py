"""JSON objects are found in text that arrives in pieces."""

from __future__ import annotations

import json

import pytest

from app.traffic.log_json import read_objects, split_objects

ENTRY = {
    "dt": "2026-11-22T10:00:00Z",
    "message": 'a "quoted" {brace} ü\n',
    "syslog": {"appname": "app", "procid": "web.1"},
}
AT_MS = 1_795_341_600_000


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_an_object_that_is_cut_off_waits_for_its_rest(cut: int) -> None:
    text = json.dumps(ENTRY)

    objects, rest = split_objects(text + "\n" + text[:cut], final=False)

    assert [item.value for item in objects] == [ENTRY]
    assert rest == text[:cut]


def test_a_damaged_line_costs_only_itself() -> None:
    data = json.dumps(ENTRY).encode()
    log = b"\n".join([data, data[:50], b"no JSON", b"\xff\xfe{", data, b"7"])

    lines = [line for group in read_objects([log], AT_MS) for line in group]

    assert [line.reason for line in lines] == ["", "header", "header", "header", "", "header"]
    assert lines[1].raw.rstrip() == data[:50]


def test_an_object_too_deep_to_read_is_damage() -> None:
    objects, _ = split_objects("[" * 10 + '{"a":' * 100_000 + "\n" + json.dumps(ENTRY), final=True)

    assert [item.value for item in objects] == [None, ENTRY]


def test_a_large_document_is_read_in_time_that_grows_with_its_size() -> None:
    data = json.dumps({"events": [ENTRY] * 20_000}).encode()
    chunks = [data[offset : offset + 4_096] for offset in range(0, len(data), 4_096)]

    lines = [line for group in read_objects(chunks, AT_MS) for line in group]

    assert len(lines) == 20_000
