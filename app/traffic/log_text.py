"""Reads lines as `heroku logs` prints them.

Public files of 2011 to 2015 contain lines that are broken in two at any place. A line that cannot
be read is therefore tried as the end of the line before, if that one cannot be read either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.traffic.log_line import LogLine
from parsers import dispatch
from parsers.heroku_logs_text import parse_line
from parsers.samples import ParseError

CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")  # colors and the like (ECMA-48, section 5.4)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # also between files that were joined
_INDENTATION = b" \t\r#>|"  # also of comments, quotations and tables


def clean_line(line: bytes) -> bytes:
    """The line without colors, indentation and line end."""
    if b"\x1b" in line:
        line = CONTROL.sub(b"", line)
    return line.lstrip(_INDENTATION).removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r")


def read_text_lines(lines: Iterable[bytes]) -> list[LogLine]:
    """Read lines. The two parts of a broken one are joined."""
    log_lines: list[LogLine] = []
    previous = b""
    for line in lines:
        log_line = _text_line(line)
        if log_line.message is None and log_lines and not _is_whole(log_lines[-1]):
            joined = _text_line(previous.rstrip(b"\r") + line)
            if _is_whole(joined):
                log_lines[-1] = joined
                continue
        log_lines.append(log_line)
        previous = line
    return log_lines


def _text_line(line: bytes) -> LogLine:
    line = clean_line(line)
    try:
        return LogLine(line, False, parse_line(line))
    except ParseError as error:
        return LogLine(line, False, None, error.reason)


def _is_whole(line: LogLine) -> bool:
    """Whether a line can be read, and what it measures too."""
    if line.message is None:
        return False
    try:
        dispatch.parse(line.message)
    except ParseError:
        return False
    return True
