"""Recorded logs give the recorded samples.

DYNOMETER_TEST_GOLDEN=write records the samples again. Review the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parsers import dispatch
from parsers.framing import Damage, FrameReader, split
from parsers.heroku_logs_text import looks_like_body, parse_line
from parsers.samples import Measurements, ParseError, RuntimeMetrics
from parsers.syslog_header import Message, parse_message

LOGS = Path(__file__).parent / "logs"
INPUTS = sorted(LOGS.glob("*.log"))


def record_of(message: Message, *, reads_marks: bool) -> dict[str, object]:
    """The sample of a message, in the form of the recording."""
    record = {"at_ms": message.at_ms}
    try:
        sample = dispatch.parse(message, reads_marks)
    except ParseError as error:
        return {**record, "unparsed": error.reason}
    if sample is None:
        return {**record, "ignored": True}
    if isinstance(sample, RuntimeMetrics | Measurements):
        values = {"source": sample.source, **dict(sample.values)}
        return {**record, type(sample).__name__: values}
    return {**record, type(sample).__name__: sample._asdict()}


def read_frame(frame: bytes | Damage, *, reads_marks: bool) -> dict[str, object]:
    if isinstance(frame, Damage):
        return {"damage": frame.size}
    try:
        return record_of(parse_message(frame), reads_marks=reads_marks)
    except ParseError as error:
        return {"unparsed": error.reason}


def read_line(line: bytes) -> dict[str, object]:
    try:
        return record_of(parse_line(line), reads_marks=False)
    except ParseError as error:
        return {"unparsed": error.reason}


def read(data: bytes, *, reads_marks: bool = False) -> list[dict[str, object]]:
    if looks_like_body(data):
        return [read_frame(frame, reads_marks=reads_marks) for frame in split(data)]
    return [read_line(line) for line in data.splitlines()]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_a_log_is_read_as_recorded(path: Path) -> None:
    golden = path.with_suffix(".golden.json")
    records = json.loads(
        json.dumps(read(path.read_bytes(), reads_marks=path.stem == "custom"))
    )  # tuples become lists
    if os.environ.get("DYNOMETER_TEST_GOLDEN") == "write":
        lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        golden.write_text(f"[\n{lines}\n]\n")
    assert records == json.loads(golden.read_text())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_a_body_is_read_the_same_in_any_pieces(path: Path) -> None:
    data = path.read_bytes()
    if not looks_like_body(data):
        assert len(data.splitlines()) == len(read(data))
        return
    for size in (1, 3, 64, 1_000):
        reader = FrameReader()
        frames = [
            frame
            for start in range(0, len(data), size)
            for frame in reader.feed(data[start : start + size])
        ]
        records = [read_frame(frame, reads_marks=True) for frame in frames + reader.end()]
        assert records == read(data, reads_marks=True)


def test_there_are_recordings_of_both_forms() -> None:
    assert len(INPUTS) >= 3
    assert {looks_like_body(path.read_bytes()) for path in INPUTS} == {True, False}
