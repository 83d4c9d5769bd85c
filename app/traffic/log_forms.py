"""Finds the form of a log from its beginning: the form in which most of its lines can be read.

    heroku logs          lines as `heroku logs` prints them (app.traffic.log_text)
    drain bodies         counted frames, one or more POSTs (app.traffic.log_frames)
    Papertrail archive   columns separated by tabs (parsers.exported_lines)
    JSON                 objects of Better Stack, Papertrail and others (app.traffic.log_json)
    exported lines       lines with something in front, or written anew (parsers.exported_lines)

A line counts only if it names one of Heroku's sources, app or heroku. One form is used for the
whole file: a line of another form within it may be application output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from app.traffic.log_frames import read_frames
from app.traffic.log_json import lines_of, read_objects, split_objects
from app.traffic.log_line import LogLine
from app.traffic.log_text import clean_line, read_text_lines
from parsers.exported_lines import parse_archived, parse_exported
from parsers.heroku_logs_text import looks_like_body
from parsers.json_lines import batch_of, form_of
from parsers.samples import ParseError
from parsers.syslog_header import Message

LINE_BYTES_MAX = 2**20  # Heroku's messages have at most about 10 KB; a longer line of text is cut
_OBJECT = re.compile(rb"[\s\[\x1e]*\{")
_SOURCES = (b"app", b"heroku")

_NEWLINE = re.compile(rb"\n")
_ANY_LINE_END = re.compile(rb"[\r\n]")  # of files without a newline, as old Mac programs write them
_PREFERENCE = 1.1  # forms other than that of `heroku logs` must read a tenth more lines

ReadLines = Callable[[Iterable[bytes]], list[LogLine]]


class LogForm(NamedTuple):
    """A form: its name, and how to read the lines of a log in it, chunk by chunk."""

    name: str
    read: Callable[[Iterable[bytes]], Iterator[list[LogLine]]]


def find_form(head: bytes, latest_ms: int, *, final: bool) -> LogForm | None:
    """The form of a log that begins with `head`; None if no line of it can be read.

    Args:
        latest_ms: about the latest possible time, for times without a year.
        final: whether this is the whole log, so that its last line is complete.
    """
    lines_read, form = _best_line_form(head, latest_ms, final=final)
    if looks_like_body(head.lstrip(b"\r\n \t")):
        # Programs that drop the host name of each frame leave its count as it was.
        frames_read = _count_frames(head, final=final)
        if frames_read and 2 * frames_read >= lines_read:
            return LogForm("drain bodies", read_frames)
    elif _OBJECT.match(head):
        objects, _ = split_objects(head.decode(errors="replace"), final=final)
        objects_read = lines_of(objects, latest_ms)
        if _count_heroku(line.message for line in objects_read) >= max(lines_read, 1):
            return LogForm(
                form_of(batch_of(objects[0].value)[0]), partial(read_objects, latest_ms=latest_ms)
            )
    return form if lines_read else None


def _best_line_form(head: bytes, latest_ms: int, *, final: bool) -> tuple[int, LogForm]:
    """(how many lines can be read, the form of lines that can read most of them)."""
    is_complete = final or len(head) > LINE_BYTES_MAX
    lines = [line for line in head.split(b"\n") if line.strip()]
    if not is_complete and not head.endswith(b"\n"):
        lines = lines[:-1]
    best = _best_form_of(lines, _NEWLINE, latest_ms)
    if is_complete and len(lines) == 1 and b"\r" in lines[0].strip():
        lines = [line for line in lines[0].split(b"\r") if line.strip()]
        return max(best, _best_form_of(lines, _ANY_LINE_END, latest_ms), key=itemgetter(0))
    return best


def _best_form_of(
    lines: Sequence[bytes], line_end: re.Pattern[bytes], latest_ms: int
) -> tuple[int, LogForm]:
    read_archived = partial(_archived_lines, latest_ms=latest_ms)
    read_exported = partial(_exported_lines, latest_ms=latest_ms)
    candidates: list[tuple[str, ReadLines]] = [
        ("heroku logs", read_text_lines),
        ("Papertrail archive", read_archived),
        (_exported_name(lines, latest_ms), read_exported),
    ]
    counts = [
        _count_heroku(line.message for line in read_lines(lines)) for _, read_lines in candidates
    ]
    best = max(range(len(counts)), key=counts.__getitem__)
    if counts[best] <= counts[0] * _PREFERENCE:
        best = 0
    name, read_lines = candidates[best]
    return counts[best], LogForm(name, partial(_read_lines, read_lines, line_end))


def _count_heroku(messages: Iterable[Message | None]) -> int:
    return sum(message is not None and message.app_name in _SOURCES for message in messages)


def _count_frames(head: bytes, *, final: bool) -> int:
    groups = read_frames((head,))
    lines = next(groups)
    if final:
        lines += next(groups)
    return _count_heroku(line.message for line in lines)


def _read_lines(
    read_lines: ReadLines, line_end: re.Pattern[bytes], chunks: Iterable[bytes]
) -> Iterator[list[LogLine]]:
    rest = b""
    for chunk in chunks:
        *lines, rest = line_end.split(rest + chunk)
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest)
            rest = b""
        yield read_lines([line for line in lines if line.strip()])
    if rest.strip():
        yield read_lines([rest])


def _exported_lines(lines: Iterable[bytes], latest_ms: int) -> list[LogLine]:
    log_lines: list[LogLine] = []
    for line in map(clean_line, lines):
        try:
            heroku_line = parse_exported(line, latest_ms)
        except ParseError as error:
            log_lines.append(LogLine(line, False, None, error.reason))
        else:
            log_lines.append(LogLine(line[heroku_line.start :], False, heroku_line.message))
    return log_lines


def _archived_lines(lines: Iterable[bytes], latest_ms: int) -> list[LogLine]:
    log_lines: list[LogLine] = []
    for line in lines:
        try:
            message = parse_archived(line.rstrip(b"\r"), latest_ms)
        except ParseError as error:
            log_lines.append(LogLine(line, False, None, error.reason))
        else:
            log_lines.append(LogLine(line, False, message))
    return log_lines


def _exported_name(lines: Iterable[bytes], latest_ms: int) -> str:
    """The name of the form of the first of these lines that can be read."""
    for line in lines:
        try:
            heroku_line = parse_exported(clean_line(line), latest_ms)
        except ParseError:
            continue
        note = "" if heroku_line.is_time_complete else " (its times have no zone: read as UTC)"
        return heroku_line.form + note
    return ""
