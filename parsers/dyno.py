"""Parses lines about one dyno or about the log stream: error codes, state changes, signals, exits.

    heroku[web.1]     Error R14 (Memory quota exceeded)
    heroku[web.1]     State changed from starting to up
    heroku[web.1]     Stopping all processes with SIGTERM
    heroku[web.1]     Process exited with status 137
    heroku[web.1]     Cycling
    heroku[web.1]     Idling because quota is exhausted
    heroku[run.1234]  Client connection closed. Sending SIGHUP to all processes
    heroku[logplex]   Error L10 (output buffer overflow): 2 messages dropped since …
    heroku[logplex]   Error L10 (output buffer overflow): drain 'd.…' dropped 2 messages since …
    app[log-shuttle]  Error L12: 2 messages dropped since …
    app[log-shuttle]  Error L13: 2 messages lost since …

A drain gets the first form of L10. `heroku logs` prints the second, which may be about another
drain, so its number is not counted as lost. Messages of L12 and L13 were lost between dyno and
Logplex, so every drain misses them. (Their form: log-shuttle's source.) L11 is about a
`heroku logs --tail` session; drains get its messages.
"""

from __future__ import annotations

import re

from parsers.samples import (
    LOG_STREAM_SOURCE,
    Event,
    HerokuError,
    ParseError,
    ProcessExit,
    StateChange,
)

_ERROR = re.compile(rb"Error (R[0-9]{2,3})\b")
_STREAM_ERROR = re.compile(rb"(?:Error )?(L[0-9]{2,3})\b")
_LOSS = re.compile(rb"Error L1[023](?: \([^)]*\))?: ([0-9]{1,9}) messages? (?:dropped|lost) since ")
# Other bytes may follow, from a damaged or quoted line, if the last word clearly ends before them.
_STATE = re.compile(rb"State changed from ([a-z]{1,32}) to ([a-z]{1,32})(?![\w\x80-\xff-])")
_STATE_BEGINNING = b"State changed from "
_EXIT = re.compile(rb"Process exited with status ([0-9]{1,3})(?![\w\x80-\xff-]|\.[0-9])")
_EXIT_BEGINNING = b"Process exited with status "
_EXIT_STATUS_MAX = 255
_SIGNAL = re.compile(
    rb"(?:Stopping (?:(?:all|remaining) )?process(?:es)? with"
    rb"|Client connection closed\. Sending) (SIG[A-Z]{1,8})\b"
)
_LIFECYCLE = {
    b"Cycling": ("cycle", ""),
    b"Relocating dyno to a new server": ("cycle", "to a new server"),
    b"Idling": ("idle", ""),
    b"Idling because quota is exhausted": ("idle", "quota exhausted"),
    b"Unidling": ("unidle", ""),
}


def parse_error(source: str, text: bytes) -> HerokuError | None:
    """The R error of the dyno `source`; None for any other line."""
    match = _ERROR.match(text)
    return HerokuError(source, match[1].decode(), 0) if match else None


def parse_stream_error(text: bytes) -> HerokuError | None:
    """The L error of a line; None for any other line."""
    match = _STREAM_ERROR.match(text)
    if not match:
        return None
    loss = _LOSS.match(text)
    return HerokuError(LOG_STREAM_SOURCE, match[1].decode(), int(loss[1]) if loss else 0)


def parse_state(source: str, text: bytes) -> StateChange | None:
    """The state change of the dyno `source`; None for any other line.

    Raises:
        ParseError: a state is unreadable (reason "lifecycle").
    """
    match = _STATE.match(text)
    if match:
        return StateChange(source, match[1].decode(), match[2].decode())
    if text.startswith(_STATE_BEGINNING):
        raise ParseError("lifecycle")
    return None


def parse_exit(source: str, text: bytes) -> ProcessExit | None:
    """The exit of a process of the dyno `source`; None for any other line.

    Raises:
        ParseError: the status is unreadable, or over 255 (reason "lifecycle").
    """
    match = _EXIT.match(text)
    if match and int(match[1]) <= _EXIT_STATUS_MAX:
        return ProcessExit(source, int(match[1]))
    if text.startswith(_EXIT_BEGINNING):
        raise ParseError("lifecycle")
    return None


def parse_signal(source: str, text: bytes) -> Event | None:
    """The signal with which Heroku stops the dyno `source`; None for any other line."""
    match = _SIGNAL.match(text)
    return Event("stop", source, match[1].decode()) if match else None


def parse_lifecycle(source: str, text: bytes) -> Event | None:
    """The event of a line that is one phrase ("Cycling"); None for any other line."""
    event = _LIFECYCLE.get(text.rstrip().rstrip(b"."))
    return Event(event[0], source, event[1]) if event else None
