"""Lines as `heroku logs` prints them:

2026-11-22T10:00:00.123456+00:00 heroku[router]: at=info method=GET path="/" …
"""

from __future__ import annotations

import re

from parsers.samples import ParseError
from parsers.syslog_header import Message, parse_timestamp_ms

_LINE = re.compile(rb"([^ ]+) ([^ \[]+)\[([^\] ]*)\]: ?(.*)", re.DOTALL)
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_BODY = re.compile(rb"[1-9][0-9]{0,6} <[0-9]{1,3}>1 ")


def parse_line(line: bytes) -> Message:
    """The message of one line, with or without its line end and terminal colours.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    match = _LINE.fullmatch(_COLOUR.sub(b"", line).rstrip(b"\r\n"))
    if not match:
        raise ParseError("header")
    at, app_name, procid, text = match.groups()
    return Message(parse_timestamp_ms(at), app_name, procid, text)


def looks_like_body(beginning: bytes) -> bool:
    """Whether input that begins so is a drain body (counted frames) and not such lines."""
    return _BODY.match(beginning) is not None
