"""What comes over the wire is read, whatever it is: frames, headers, lines, what `heroku logs`
prints.
"""

from __future__ import annotations

import random
import re
import time
from tempfile import NamedTemporaryFile
from typing import Any

from app.cli.replay import to_frame
from app.rollup.codec import pack, unpack
from app.rollup.rollup import Rollup
from app.traffic.log_input import LogInput, LogInputError, LogLine
from parsers import dispatch as heroku
from parsers.framing import COUNT_MAX, Damage, FrameReader, split
from parsers.metrics import GAUGES
from parsers.runtime_metrics import SAMPLE_PAIR
from parsers.samples import (
    REASONS,
    HerokuError,
    ParseError,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)
from parsers.syslog_header import EARLIEST_MS, LATEST_MS, Message, parse_message, parse_timestamp_ms

AT_MS = 1_795_341_600_000  # 2026-11-22T10:00:00Z
READER_LIMITS = (COUNT_MAX, 1_000, 40)
COST_BYTES = 64 * 1024
COST_CPU_S_MAX = 5.0  # a hundred times what it takes; what grows with the square takes longer

_SOURCE = re.compile(r"(?:[A-Za-z][A-Za-z0-9_-]{0,62}(?:\.[0-9]{0,9})?)?")
_CODE = re.compile(r"[A-Za-z0-9-]{0,16}")
_STATE = re.compile(r"[a-z]{1,32}")
_ORIGINS = (
    (b"heroku", b"router"),
    (b"heroku", b"web.1"),
    (b"heroku", b"logplex"),
    (b"app", b"log-shuttle"),
    (b"app", b"web.1"),
)


def framing(data: bytes) -> None:
    """However a body is cut, the same frames are found, and every byte is accounted for."""
    rng, body = random.Random(data[:2]), data[2:]
    whole = list(split(body))
    assert sum(_size(item) for item in whole) == len(body)
    for limit in READER_LIMITS:
        at_once = FrameReader(limit)
        expected = at_once.feed(body) + at_once.end()
        assert sum(_size(item) for item in expected) == len(body)
        assert limit < COUNT_MAX or expected == whole
        reader = FrameReader(limit)
        found = []
        position = 0
        while position < len(body):
            step = rng.choice((1, 2, 7, 30, 200))
            found += reader.feed(body[position : position + step])
            position += step
        assert found + reader.end() == expected


def _size(item: bytes | Damage) -> int:
    return item.size if isinstance(item, Damage) else len(b"%d " % len(item)) + len(item)


class CopyCounting(bytes):
    """Bytes that count how many of them were taken by slices."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            self.copied += len(found)
        return found


def framing_cost(data: bytes) -> None:
    """Time and copies stay in proportion to a body that repeats the same over and over."""
    if not data:
        return
    body = CopyCounting(data * (COST_BYTES // len(data) + 1))
    start_s = time.process_time()
    for _ in split(body):
        pass
    assert time.process_time() - start_s < COST_CPU_S_MAX
    assert body.copied <= 4 * len(body)


def syslog(data: bytes) -> None:
    """A header is read or refused for a known reason, and its fields are pieces of the frame."""
    try:
        message = parse_message(data)
    except ParseError as error:
        assert error.reason in ("header", "timestamp")
        return
    assert EARLIEST_MS <= message.at_ms <= LATEST_MS
    assert b" " not in message.app_name + message.procid
    assert data.endswith(b"%s %s" % (message.app_name, data.split(b" ", 4)[4]))
    written = data.split(b" ", 2)[1]
    if written.endswith(b"+00:00"):  # Z goes another way through the parser
        assert parse_timestamp_ms(written[:-6] + b"Z") == message.at_ms


def platform_line(data: bytes) -> None:
    """A line of the platform gives values within their documented ranges, which can be stored."""
    app_name, procid = _ORIGINS[data[0] % len(_ORIGINS)] if data else _ORIGINS[0]
    try:
        sample = heroku.parse(Message(AT_MS, app_name, procid, data[1:]))
    except ParseError as error:
        assert error.reason in REASONS
        return
    if sample is not None:
        _check(sample)
        rollup = Rollup()
        rollup.observe(sample, AT_MS)
        assert pack(unpack(pack(rollup))) == pack(rollup)


def _check(sample: Sample) -> None:
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
                assert 0 <= gauge < len(GAUGES)
                assert 0 <= value < 10**15
        case HerokuError(_, code, lost):
            assert re.fullmatch(r"[RL][0-9]{2,3}", code)
            assert 0 <= lost < 10**9
        case StateChange(_, before, after):
            assert _STATE.fullmatch(before)
            assert _STATE.fullmatch(after)


def runtime_names(data: bytes) -> None:
    """A usual line, read in one go, says the same as when it is read name by name."""
    source = b"source=web.1 dyno=heroku.1.0f0f"
    text = source + data
    if data[:1] == b" " and SAMPLE_PAIR.match(data):
        # Two spaces: no usual line, and the same names and values.
        assert _parsed(text) == _parsed(source + b" " + data)


def client_text(data: bytes) -> None:
    """What a client writes into a request changes nothing of what is read from its line."""
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
        assert _parsed(line % (head, *parts), b"router") == expected


def _parsed(text: bytes, procid: bytes = b"web.1") -> Sample | str | None:
    try:
        return heroku.parse(Message(AT_MS, b"heroku", procid, text))
    except ParseError as error:
        return error.reason


def heroku_logs(data: bytes) -> None:
    """A file in any form gives lines, read or not for a known reason, that can be sent on."""
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
        _check_sent_on(line)


def _check_sent_on(line: LogLine) -> None:
    """It arrives as one frame, which says what the line said."""
    frames = list(split(to_frame(line)))
    assert len(frames) == 1
    assert isinstance(frames[0], bytes)
    if line.message is None:
        return
    sent = parse_message(frames[0])
    if line.is_frame or line.message.at_ms < 0:
        sent = sent._replace(at_ms=line.message.at_ms)
    if not line.is_frame:
        sent = sent._replace(text=sent.text.removesuffix(b"\n"))
    assert sent == line.message
