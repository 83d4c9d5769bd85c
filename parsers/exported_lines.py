"""Parses Heroku's lines as other programs store them: with a prefix, or in a form of their own.

    app.log:12:  2026-11-22T10:00:00+00:00 heroku[router]: at=info …       grep, CI, indentation
    Nov 22 10:00:01 d.8f6f heroku[router]: at=info …                       rsyslog, syslog-ng
    Nov 22 10:00:01 shop heroku/router: at=info …                          Papertrail's viewer, CLI
    <158>1 2026-11-22T10:00:00+00:00 host heroku router - at=info …        a drain body by lines
    22 Nov 2026 02:00:01.9 <158>1 2026-11-22T10:00:00+00:00 heroku router - - at=info …  Logentries

All name Heroku's source, and the time comes shortly before it. The *first* source in a line
decides, so what an application prints is never taken for a line of the platform. The forms are
those of public files; Papertrail's is also described by its page "Permanent log archives".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from parsers.log_times import TIME, is_complete, parse_time_ms
from parsers.samples import ParseError
from parsers.syslog_header import Message

_NAME = rb"[-\w.]{0,128}[A-Za-z_][-\w.]{0,128}"  # other programs write a number: app[2716]
# Without brackets or a dash, only what can be no word or path: app/models is none of Heroku's.
_DYNO_NAME = rb"api|router|logplex|heroku-[-\w]+|[-\w]{1,128}\.[0-9]+"
_LOST_COLOR = rb"(?:\[[0-9;]*m)?"  # whose escape character was lost
_ORIGIN = re.compile(
    rb"(?:^|(?<=\s))(app|heroku)"
    rb"(?:\[(" + _NAME + rb")\](?::" + _LOST_COLOR + rb" ?|\s|$)"
    rb"|/(" + _DYNO_NAME + rb")(?:: ?|\s|$)"
    rb"| (?:(" + _NAME + rb") -(?: -(?=\s|$))?|(" + _DYNO_NAME + rb"))(?:\s|$))"
)
_BETWEEN = re.compile(
    _LOST_COLOR + rb"\s+(?:\S{1,128}\s+){0,2}"
)  # a host name and a level, at most
_PREFIX_BYTES_MAX = 1_000  # searched for a time; a file name has at most 255
_PROGRAM = re.compile(rb"(app|heroku)(?:/|\[)([-\w.]{1,256})\]?:?")


class ExportedLine(NamedTuple):
    """A line of Heroku's within another line.

    `start` is where its time begins, `form` the name of the form. `is_time_complete` is False if
    the time lacks a zone or a year.
    """

    message: Message
    start: int
    form: str
    is_time_complete: bool


def parse_exported(line: bytes, latest_ms: int) -> ExportedLine:
    """Parse a line without its line end and without colors.

    Args:
        latest_ms: about the latest possible time, for times without a year.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    origin = _ORIGIN.search(line)
    if origin is None:
        raise ParseError("header")
    app_name, bracket_name, slash_name, *space_names = origin.groups()
    procid = bracket_name or slash_name or space_names[0] or space_names[1]
    begin = origin.start()
    time = None
    for time in TIME.finditer(line, max(0, begin - _PREFIX_BYTES_MAX), begin):  # noqa: B007
        pass
    if time is None or not _BETWEEN.fullmatch(line, time.end(), begin):
        raise ParseError("timestamp")
    form = "Papertrail text" if slash_name else "syslog lines"
    if time.end() + 1 == begin and not slash_name:
        form = "heroku logs, with a prefix" if bracket_name else "syslog lines without a host name"
    at_ms = parse_time_ms(time, latest_ms)
    message = Message(at_ms, app_name, procid, line[origin.end() :])
    return ExportedLine(message, time.start(), form, is_complete(time))


def parse_archived(line: bytes, latest_ms: int) -> Message:
    """Parse a line of a Papertrail archive: ten columns, separated by tabs.

    The columns are id, generated_at, received_at, source_id, source_name, source_ip, facility,
    severity, program (heroku/router) and message.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    columns = line.split(b"\t", 9)
    origin = parse_program(columns[8]) if len(columns) == 10 else None
    if origin is None:
        raise ParseError("header")
    time = TIME.fullmatch(columns[1]) or TIME.fullmatch(columns[2])
    if time is None:
        raise ParseError("timestamp")
    return Message(parse_time_ms(time, latest_ms), *origin, columns[9])


def parse_program(program: bytes) -> tuple[bytes, bytes] | None:
    """(APPNAME, PROCID) of a name such as heroku/router or heroku[router]; None for others."""
    match = _PROGRAM.fullmatch(program)
    return (match[1], match[2]) if match else None
