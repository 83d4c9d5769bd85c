"""Parses the syslog header of a frame: `<PRI>1 TIMESTAMP HOSTNAME APPNAME PROCID MSGID …`.

The format is RFC 5424, section 6.2. The text after the header comes in two dialects that the header
does not distinguish:

    Logplex's HTTPS drains   MSG                       no STRUCTURED-DATA, and no nil value for it
    RFC 5424                 STRUCTURED-DATA [SP MSG]  "-", or [id name="value" …] …

Therefore the text is kept unchanged, and without_structured_data() removes the prefix where needed.
This is safe for messages of the platform, which begin with a letter. No other messages are parsed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from parsers.samples import ParseError

_PRIS = frozenset(b"<%0*d>1" % (digits, pri) for digits in (1, 2, 3) for pri in range(10**digits))
_HEADER_FIELDS = 6  # <PRI>1, TIMESTAMP, HOSTNAME, APPNAME, PROCID, MSGID

# RFC 3339 with up to 9 fraction digits; Logplex trims trailing zeros.
_TIMESTAMP = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):([0-9]{2})"
    rb"(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_LEAP_SECOND = 60
# Years 1 to 9999: datetime and most date types elsewhere support no others.
EARLIEST_MS = -62_135_596_800_000
LATEST_MS = 253_402_300_799_999
_UTC_OFFSETS = (b"+00:00", b"Z")
_SECOND_BYTES = 19  # 2026-11-22T10:00:00
# Positions in the common form 2026-11-22T10:00:00.123456+00:00, with any number of fraction digits.
_POINT = slice(19, 20)
_FRACTION = slice(20, -6)
_ZONE = slice(-6, None)
_COMMON_BYTES_MAX = 35  # with 9 fraction digits

_new = tuple.__new__  # half the cost of calling the class; one is created per line

_ELEMENT = re.compile(rb'\[[^\s\]"=]+(?: [^\s\]"=]+="(?:[^"\\\]]|\\.)*")*\]', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Message(NamedTuple):
    """One log message: its time in Unix milliseconds, its origin from the header, and its text."""

    at_ms: int
    app_name: bytes
    procid: bytes
    text: bytes


def parse_message(frame: bytes) -> Message:
    """Parse the message of a frame. PRI is ignored, because Heroku uses it inconsistently.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    fields = frame.split(b" ", _HEADER_FIELDS)
    if len(fields) < _HEADER_FIELDS or fields[0] not in _PRIS:
        raise ParseError("header")
    text = fields[_HEADER_FIELDS] if len(fields) > _HEADER_FIELDS else b""
    return _new(Message, (parse_timestamp_ms(fields[1]), fields[3], fields[4], text))


def hostname_of(frame: bytes) -> bytes:
    """The HOSTNAME of a frame, which is the drain token in a syslog drain; b"" without a header."""
    fields = frame.split(b" ", 3)
    return fields[2] if len(fields) > 3 and fields[0] in _PRIS else b""


def parse_timestamp_ms(text: bytes) -> int:
    """Unix milliseconds of an RFC 3339 time, from EARLIEST_MS to LATEST_MS.

    Digits beyond milliseconds are dropped. Second 60 counts as the first second of the next minute.

    Raises:
        ParseError: reason "timestamp".
    """
    fraction = text[_FRACTION]
    if (
        fraction.isdigit()
        and len(text) <= _COMMON_BYTES_MAX
        and text[_POINT] == b"."
        and text[_ZONE] == b"+00:00"
    ):
        return _second_ms(text[:_SECOND_BYTES]) + int((fraction + b"00")[:3])
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise ParseError("timestamp")
    minute, second, fraction, zone = match.groups()
    at_ms = _second_ms(minute + b":" + second) - _offset_ms(zone)
    if not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ParseError("timestamp")
    return at_ms + (int(fraction[:3].ljust(3, b"0")) if fraction else 0)


@lru_cache(maxsize=8_192)  # the lines of a batch span few seconds
def _second_ms(text: bytes) -> int:
    """Unix milliseconds of "2026-11-22T10:00:00", taken as UTC."""
    match = _TIMESTAMP.fullmatch(text + b"Z")
    if not match:
        raise ParseError("timestamp")
    second = int(match[2])
    if second > _LEAP_SECOND:
        raise ParseError("timestamp")
    try:
        minute = datetime.fromisoformat(match[1].decode()).replace(tzinfo=UTC)
    except ValueError:
        raise ParseError("timestamp") from None
    at_ms = (int(minute.timestamp()) + second) * 1000
    if at_ms > LATEST_MS:  # a leap second at the end of 9999
        raise ParseError("timestamp")
    return at_ms


def _offset_ms(zone: bytes) -> int:
    if zone in _UTC_OFFSETS:
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ParseError("timestamp")
    offset_ms = (hours * 60 + minutes) * 60_000
    return offset_ms if zone[:1] == b"+" else -offset_ms


def without_structured_data(text: bytes) -> bytes:
    """The message after any STRUCTURED-DATA, byte order mark and spaces.

    Raises:
        ParseError: an element of the structured data is truncated (reason "header").
    """
    if text[:1] == b"[":
        position = 0
        while text[position : position + 1] == b"[":
            element = _ELEMENT.match(text, position)
            if not element:
                raise ParseError("header")
            position = element.end()
        text = text[position:]
    elif text[:2] == b"- " or text == b"-":
        text = text[2:]
    return text.lstrip(b" ").removeprefix(_BYTE_ORDER_MARK).lstrip(b" ")
