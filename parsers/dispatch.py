"""Which parser reads a message: decided by its APPNAME and PROCID, which only Heroku writes, never
by its text.

Application output (APPNAME app, PROCID a dyno) is not looked at: an app can print anything, also a
router line.
"""

from __future__ import annotations

from collections.abc import Callable

from parsers import api_events as events
from parsers import dyno, router
from parsers import runtime_metrics as runtime
from parsers.samples import Sample, source_of
from parsers.syslog_header import Message, without_structured_data

_PLATFORM = b"heroku"

_BY_ORIGIN: dict[tuple[bytes, bytes], Callable[[bytes], Sample | None]] = {
    (_PLATFORM, b"router"): router.parse,
    (_PLATFORM, b"logplex"): dyno.parse_stream_error,
    (b"app", b"log-shuttle"): dyno.parse_stream_error,
    (b"app", b"api"): events.parse,
}

_OF_DYNO: tuple[tuple[bytes, Callable[[str, bytes], Sample | None]], ...] = (
    (b"source=", runtime.parse),
    (b"Error ", dyno.parse_error),
    (b"State changed ", dyno.parse_state),
    (b"Process exited ", dyno.parse_exit),
    (b"Cycling", dyno.parse_word),
    (b"Idling", dyno.parse_word),
    (b"Unidling", dyno.parse_word),
)


def parse(message: Message) -> Sample | None:
    """What a message says that is measured; None for application output and for lines of which
    nothing is used.

    Raises:
        ParseError: the line is of a kind that we measure, and cannot be read.
    """
    _, app_name, procid, text = message
    read = _BY_ORIGIN.get((app_name, procid))
    if read is None and app_name != _PLATFORM:
        return None
    if not text[:1].isalpha():  # the platform begins its messages with a letter
        text = without_structured_data(text)
    if read is not None:
        return read(text)
    for beginning, read_dyno in _OF_DYNO:
        if text.startswith(beginning):
            return read_dyno(source_of(procid), text)
    return None
