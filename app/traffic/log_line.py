"""One line of a log, whatever form it was read from."""

from __future__ import annotations

from typing import NamedTuple

from parsers.syslog_header import Message


class LogLine(NamedTuple):
    """One line of text, one object or one frame, readable or not.

    `raw` is the line as it was read: the text from Heroku's time on, without colors and line end;
    the frame without its count; or a damaged stretch of frames unchanged. If it cannot be parsed,
    `message` is None and `reason` is a key of parsers.samples.REASONS.
    """

    raw: bytes
    is_frame: bool
    message: Message | None
    reason: str = ""
