"""Fuzz targets for input formats: frames, headers, log lines and files with log lines."""

from __future__ import annotations

import random
import re
import time
from tempfile import NamedTemporaryFile
from typing import Any

from app.cli.replay import to_frame
from app.rollup.codec import pack, unpack
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES
from app.traffic.log_input import LogInput, LogInputError
from app.traffic.log_line import LogLine
from parsers import dispatch
from parsers.framing import COUNT_MAX, Damage, FrameReader, split
from parsers.samples import (
    REASONS,
    AddonSamples,
    HerokuError,
    ParseError,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)
from parsers.syslog_header import EARLIEST_MS, LATEST_MS, Message, parse_message, parse_timestamp_ms
from tests.support.forms import assert_same_aggregation

AT_MS = 1_795_341_600_000  # 2026-11-22T10:00:00Z
READER_LIMITS = (COUNT_MAX, 1_000, 40)
COST_BYTES = 64 * 1024
COST_CPU_S_MAX = 5.0  # a hundred times the normal time; quadratic time is longer

_SOURCE = re.compile(r"(?:[A-Za-z][A-Za-z0-9_-]{0,62}(?:\.[0-9]{0,9})?)?")
_CODE = re.compile(r"[A-Za-z0-9-]{0,16}")
_STATE = re.compile(r"[a-z]{1,32}")
_BLANKS = b"\r\n \t"
_BEFORE_MESSAGE = re.compile(rb"(?:[0-9]{1,20} )?")
_ORIGINS = (
    (b"heroku", b"router"),
    (b"heroku", b"web.1"),
    (b"heroku", b"logplex"),
    (b"app", b"log-shuttle"),
    (b"app", b"web.1"),
)


def framing(data: bytes) -> None:
    """However a body is split, the frames are the same and every byte is accounted for."""
    rng, body = random.Random(data[:2]), data[2:]
    items = list(split(body))
    _check_accounting(items, body)
    for limit in READER_LIMITS:
        reader = FrameReader(limit)
        items_at_limit = reader.feed(body) + reader.end()
        _check_accounting(items_at_limit, body)
        assert limit < COUNT_MAX or items_at_limit == items
        reader = FrameReader(limit)
        items_of_pieces = []
        position = 0
        while position < len(body):
            step = rng.choice((1, 2, 7, 30, 200))
            items_of_pieces += reader.feed(body[position : position + step])
            position += step
        assert items_of_pieces + reader.end() == items_at_limit


def _check_accounting(items: list[bytes | Damage], rest: bytes) -> None:
    """Before a message there is nothing but its count and blanks."""
    for item in items:
        rest = rest.lstrip(_BLANKS)
        if isinstance(item, Damage):
            assert 0 < item.size <= len(rest)
            rest = rest[item.size :]
            continue
        frame = b"%d " % len(item) + item
        if not rest.startswith(frame):
            match = _BEFORE_MESSAGE.match(rest)
            frame = (match[0] if match else b"") + item
            assert rest.startswith(frame)
        rest = rest[len(frame) :]
    assert not rest.strip(_BLANKS)


class CopyCountingBytes(bytes):
    """Bytes that count how many of them slices have copied."""

    copied_bytes = 0

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        if isinstance(item, bytes):
            self.copied_bytes += len(item)
        return item


def framing_cost(data: bytes) -> None:
    """For a body that repeats a pattern, time and copies stay proportional to its size."""
    if not data:
        return
    body = CopyCountingBytes(data * (COST_BYTES // len(data) + 1))
    start_s = time.process_time()
    for _ in split(body):
        pass
    assert time.process_time() - start_s < COST_CPU_S_MAX
    assert body.copied_bytes <= 4 * len(body)


def syslog(data: bytes) -> None:
    """A header is read or rejected for a known reason, and its fields are parts of the frame."""
    try:
        message = parse_message(data)
    except ParseError as error:
        assert error.reason in ("header", "timestamp")
        return
    assert EARLIEST_MS <= message.at_ms <= LATEST_MS
    assert b" " not in message.app_name + message.procid
    assert data.endswith(b"%s %s" % (message.app_name, data.split(b" ", 4)[4]))
    timestamp = data.split(b" ", 2)[1]
    if timestamp.endswith(b"+00:00"):  # the parser handles Z on another path
        assert parse_timestamp_ms(timestamp[:-6] + b"Z") == message.at_ms


def platform_line(data: bytes) -> None:
    """A line of the platform gives values in their documented ranges that can be stored."""
    app_name, procid = _ORIGINS[data[0] % len(_ORIGINS)] if data else _ORIGINS[0]
    try:
        sample = dispatch.parse(Message(AT_MS, app_name, procid, data[1:]))
    except ParseError as error:
        assert error.reason in REASONS
        return
    if sample is not None:
        _check_sample(sample)
        rollup = Rollup()
        rollup.observe(sample, AT_MS)
        assert pack(unpack(pack(rollup))) == pack(rollup)


def _check_sample(sample: Sample) -> None:
    if not isinstance(sample, AddonSamples):
        assert _SOURCE.fullmatch(sample.source)
    match sample:
        case Request(_, status, code, connect_ms, service_ms, size):
            assert status == 0 or 100 <= status <= 599
            assert _CODE.fullmatch(code)
            assert 0 <= (connect_ms or 0) < 10**10
            assert 0 <= (service_ms or 0) < 10**10
            assert 0 <= (size or 0) < 10**15
        case RuntimeMetrics(_, values):
            assert len(values) == len(dict(values)) > 0
            for gauge, value in values:
                assert gauge in CORE_GAUGES
                assert 0 <= value < 10**15
        case HerokuError(_, code, lost):
            assert re.fullmatch(r"[RL][0-9]{2,3}", code)
            assert 0 <= lost < 10**9
        case StateChange(_, before, after):
            assert _STATE.fullmatch(before)
            assert _STATE.fullmatch(after)


def aggregation(data: bytes) -> None:
    """The compiled aggregator counts the same as the Python one in any body."""
    assert_same_aggregation(data)


def client_text(data: bytes) -> None:
    """Text that a client writes into a request does not change the result for its line."""
    head = b'at=error code=H12 desc="x"' if data[:1] > b"\x7f" else b"at=info"
    line = (
        b'%s method=GET path="%s" host=%s request_id=%s fwd="%s" '
        b"dyno=web.1 connect=1ms service=18ms status=503 bytes=512 protocol=https\n"
    )
    expected = Request("web.1", 503, "H12" if data[:1] > b"\x7f" else "", 1, 18, 512)
    text = data[2:]
    for place in range(4):
        parts = [b"x", b"x", b"x", b"x"]
        parts[place] = text
        assert _parse(line % (head, *parts), b"router") == expected


def _parse(text: bytes, procid: bytes = b"web.1") -> Sample | str | None:
    try:
        return dispatch.parse(Message(AT_MS, b"heroku", procid, text))
    except ParseError as error:
        return error.reason


def heroku_logs(data: bytes) -> None:
    """Any file gives lines that are read, or rejected for a known reason, and can be replayed."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with LogInput(file.name) as log:
            try:
                lines = [line for group in log.groups() for line in group]
            except LogInputError:
                return
    for line in lines:
        assert (line.message is None) == (line.reason in REASONS)
        _check_replayed(line)


def _check_replayed(line: LogLine) -> None:
    """A replayed line is one frame with the same message."""
    frames = list(split(to_frame(line)))
    assert len(frames) == 1
    assert isinstance(frames[0], bytes)
    if line.message is None:
        return
    parsed_message = parse_message(frames[0])
    if line.is_frame or line.message.at_ms < 0:
        parsed_message = parsed_message._replace(at_ms=line.message.at_ms)
    if not line.is_frame:
        parsed_message = parsed_message._replace(text=parsed_message.text.removesuffix(b"\n"))
    assert parsed_message == line.message
