"""Parses lines as `heroku logs` prints them:

2026-11-22T10:00:00.123456+00:00 heroku[router]: at=info method=GET path="/" …
"""

from __future__ import annotations

import re

from parsers.samples import ParseError
from parsers.syslog_header import Message, parse_timestamp_ms

_LINE = re.compile(rb"([^ ]+) ([^ \[]+)\[([^\] ]*)\]: ?(.*)", re.DOTALL)
_COLOR = re.compile(rb"\x1b\[[0-9;]*m")
_BODY = re.compile(rb"[1-9][0-9]{0,6} <[0-9]{1,3}>1 ")


def parse_line(line: bytes) -> Message:
    """The message of one line, with or without its line end and terminal colors.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    match = _LINE.fullmatch(_COLOR.sub(b"", line).rstrip(b"\r\n"))
    if not match:
        raise ParseError("header")
    timestamp, app_name, procid, text = match.groups()
    return Message(parse_timestamp_ms(timestamp), app_name, procid, text)


def looks_like_body(beginning: bytes) -> bool:
    """Whether input with this beginning is a drain body (counted frames) instead of such lines."""
    return _BODY.match(beginning) is not None
