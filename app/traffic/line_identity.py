"""What is the same about a line of Heroku's in whatever form it is read.

The same line may come from `heroku logs`, from a drain and from the export of a log service. Its
time, source and text are the same in all of them, so these identify it. `Message` has its time in
milliseconds only; the digits after them are looked for in the line as it was read.

A service that stores fewer digits of a time has changed it, so such a line is another one. In an
export with times in whole seconds, different lines may have the same time and text. Its lines are
identified by their bytes, which contain an id.
"""

from __future__ import annotations

import re

from app.traffic.log_line import LogLine
from app.traffic.log_text import CONTROL
from parsers.log_times import TIME, parse_time_ms
from parsers.samples import ParseError

# Seconds since 1970 with a fraction, or the number of micro- or nanoseconds.
_NUMBER = re.compile(rb"(?<![0-9])([0-9]{10})\.?([0-9]{3})([0-9]{1,6})(?![0-9])")
# Before a text: its nil STRUCTURED-DATA, which Logplex omits over HTTPS, and spaces.
_BEFORE_TEXT = re.compile(rb"(?:- |-$|\s|\xef\xbb\xbf)*")


def identity_of(line: LogLine) -> bytes:
    """Bytes that are equal for the same line of Heroku's, and only for it.

    An unreadable line is identified by its bytes.
    """
    if line.message is None:
        return line.raw
    at_ms, app_name, procid, text = line.message
    digits = _digits_below_ms(line.raw, at_ms, is_frame=line.is_frame)
    if digits is None:
        return line.raw
    if b"\x1b" in text:
        text = CONTROL.sub(b"", text)
    if not text.isascii():  # JSON has no other bytes than those of UTF-8
        text = text.decode(errors="replace").encode()
    text = _BEFORE_TEXT.sub(b"", text, count=1).rstrip()
    return b"%d.%s %s %s %s" % (at_ms, digits, app_name, procid, text)


def _digits_below_ms(raw: bytes, at_ms: int, *, is_frame: bool) -> bytes | None:
    """The digits of the time of a line that follow its milliseconds, without zeros at the end.

    None for an exported line whose time is in whole seconds.
    """
    for time in TIME.finditer(raw):
        try:
            is_same = parse_time_ms(time, at_ms) == at_ms
        except ParseError:
            continue
        if is_same:
            fraction = time[3] or time[9]
            is_exported = not is_frame and time.start() > 0
            return None if is_exported and not fraction else (fraction or b"")[3:].rstrip(b"0")
    digits = b"%d" % at_ms
    for number in _NUMBER.finditer(raw):
        if number[1] + number[2] == digits:
            return number[3].rstrip(b"0")
    return b""
