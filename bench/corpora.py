"""Corpora: the lines of the simulated app in every form that Heroku, clients and relays give them.

A form changes lines one by one, and says what they now count as. The first four forms build on each
other; the others stand alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice

from app.traffic.simulated_addons import SimulatedAddons, format_marks
from app.traffic.simulated_lines import (
    PRI_API,
    PRI_APP,
    PRI_DYNO,
    PRI_LOGPLEX,
    SimulatedLine,
    add_octet_count,
)
from bench.corpus import SHARES, START_S, in_shares, joined, lines_by_class, restamp

Form = Callable[[SimulatedLine, int], SimulatedLine]  # of a line and its number
LINES = 100  # in a body
LINES_PER_S = 200.0
_SAMPLES = 200  # distinct lines of add-ons, and with marks

_ZONE = b"+00:00 host "
_PATH = re.compile(rb' path="[^"]*"')
_FWD = re.compile(rb' fwd=(?:"[^"]*"|[^ ]*)')
_TAIL = re.compile(rb" dyno=[^ ]* connect=[^ ]* service=[^ ]* status=[^ ]* bytes=[^ \n]*")
_HOSTILE_PATHS = (
    b' path="/search?q=%b"' % (b"x=1&y=" * 500),
    b' path="/x" dyno=web.9 connect=1ms service=9999ms status=500 bytes=1 protocol=http"',
    b' path="/%b"' % b"".join(b"dyno=d%d " % number for number in range(300)),
    b' path="/a b "c" \xc3\xa9\xff\\" code=H99 at=error"',
    b' path="/%b"' % (b"1 <1>1 " * 400),
)
_HOSTILE_FWD = b' fwd="1.2.3.4" "x, \\\\"y"'
_ORDERS = ((1, 2, 3, 0, 4), (4, 3, 2, 1, 0), (0, 1, 2, 3, 4), (3, 0, 1, 4, 2))
_API_TEXTS = (
    b"Deploy 6c63c6a%d by user dev@example.com",
    b"Release v%d created by user dev@example.com",
    b"Build started by user dev%d@example.com",
    b"Scaled to web@%d:Standard-1X worker@1:Basic by user dev@example.com",
    b"Set LANG_%d, RACK_ENV config vars by user dev@example.com",
    b"Starting process with command `rake tidy[%d]` by user scheduler@addons.heroku.com",
)
_DYNO_TEXTS = (
    b"State changed from starting to up",
    b"State changed from up to starting",
    b"Stopping all processes with SIGTERM",
    b"Process exited with status 143",
    b"Error R14 (Memory quota exceeded)",
    b"Process running mem=NNNM(NNN.1%)",
    b"Starting process with command `bin/web -p NNN`",
    b"Cycling",
    b"Idling",
)
_L10_TEXT = (
    b"Error L10 (output buffer overflow): %d messages dropped since 2026-11-22T10:00:00+00:00."
)
_OUTPUT_BYTES = (0, 1, 20, 80, 200, 500, 1_500, 4_000, 10_000)
_OUTPUT = "Grüße\tсто 数 at=info status=500 {'a': 1}\n  File \"x.rb\", line 1\n".encode()


def _as_is(line: SimulatedLine, _: int) -> SimulatedLine:
    return line


def _newlines(line: SimulatedLine, number: int) -> SimulatedLine:
    """Every tenth frame without its newline, as Logplex writes an L10."""
    return _with_message(line, _message(line)[:-1]) if number % 10 == 9 else line


def _stamps(line: SimulatedLine, number: int) -> SimulatedLine:
    """Times as RFC 5424 also allows them: Z, no fraction, fewer digits."""
    line = _newlines(line, number)
    time, _, rest = _message(line).partition(_ZONE)
    second = time.partition(b".")[0]
    forms = (time + b"Z", second + b"Z", second + b"+00:00", second + b".5+00:00", time + b"+00:00")
    return _with_message(line, forms[number % len(forms)] + b" host " + rest)


def _hostile(line: SimulatedLine, number: int) -> SimulatedLine:
    """Long paths, forged fields and quotes in the text that clients write."""
    line = _stamps(line, number)
    if b" router - " not in line.frame:
        return line
    path = _HOSTILE_PATHS[number % len(_HOSTILE_PATHS)]
    message = _PATH.sub(lambda _: path, _message(line), count=1)
    return _with_message(line, _FWD.sub(_HOSTILE_FWD, message, count=1))


def _orders(line: SimulatedLine, number: int) -> SimulatedLine:
    """Fields in other orders, among further ones."""
    message = _message(line)
    if b" sample#" in message:
        head, *samples = message.rstrip(b"\n").split(b" sample#")
        first = number % len(samples)
        moved = samples[first:] + samples[:first]
        return _with_message(line, b" sample#".join((head, *moved)) + b"\n")
    tail = _TAIL.search(message)
    if tail is None:
        return line
    fields = tail[0].split(b" ")[1:]
    moved = [fields[place] for place in _ORDERS[number % len(_ORDERS)]]
    moved.insert(number % 5, b"queue=%dms" % number)
    text = b" ".join((message[: tail.start()], *moved)) + message[tail.end() :]
    return _with_message(line, text)


def _output(line: SimulatedLine, number: int) -> SimulatedLine:
    """Output of the app of every size, in several lines and alphabets."""
    if not _is_output(line):
        return line
    size = _OUTPUT_BYTES[number % len(_OUTPUT_BYTES)]
    text = (_OUTPUT * (size // len(_OUTPUT) + 1))[:size]
    return _with_message(line, b" ".join((*_message(line).split(b" ")[:6], text + b"\n")))


def _platform(line: SimulatedLine, number: int) -> SimulatedLine:
    """Events of the app and its dynos, and L10, instead of the app's output."""
    if not _is_output(line):
        return line
    time = line.frame.split(b" ")[2]
    if number % 10 == 9:
        head = b"<%d>1 %b host heroku logplex - " % (PRI_LOGPLEX, time)
        return _with_message(line, head + _L10_TEXT % (number % 100))._replace(code="L10")
    if number % 10 == 8:
        text = _API_TEXTS[number % len(_API_TEXTS)] % (number % 10)
        return _with_message(line, b"<%d>1 %b host app api - %b\n" % (PRI_API, time, text))
    text = _DYNO_TEXTS[number % len(_DYNO_TEXTS)]
    text = text.replace(b"NNN", b"%d" % (100 + number % 900))
    head = b"<%d>1 %b host heroku web.%d - " % (PRI_DYNO, time, number % 8)
    code = "R14" if b"R14" in text else ""
    return _with_message(line, head + text + b"\n")._replace(code=code)


def _damaged(line: SimulatedLine, number: int) -> SimulatedLine:
    """Every tenth frame with a wrong count, or none: the line is recovered."""
    if number % 10 != 9:
        return line
    message = _message(line)
    count = len(message)
    forms = (
        b"%d %b" % (count + 3, message),
        b"%d %b" % (count - 7, message),
        message,
        b"\n%d %b" % (count, message),
        b"%d %b\r\n" % (count, message[:-1]),
    )
    return line._replace(frame=forms[number // 10 % len(forms)])


def _addons(line: SimulatedLine, number: int) -> SimulatedLine:
    """Samples of databases, caches and connection pools only."""
    head, _, text = _addon_messages()[number % _SAMPLES].partition(_ZONE)
    time = _message(line).partition(_ZONE)[0].partition(b"1 ")[2]
    message = head[: head.index(b"1 ") + 2] + time + _ZONE + text
    return SimulatedLine(line.at_s, add_octet_count(message))


def _marks(line: SimulatedLine, number: int) -> SimulatedLine:
    """Lines of an app with marks of custom metrics only."""
    time = line.frame.split(b" ")[2]
    text = _mark_texts()[number % _SAMPLES]
    head = b"<%d>1 %b host app web.%d - " % (PRI_APP, time, 1 + number % 8)
    return SimulatedLine(line.at_s, add_octet_count(head + text + b"\n"))


def _everything(line: SimulatedLine, number: int) -> SimulatedLine:
    """A fifth of the lines from add-ons, a tenth with marks."""
    if number % 10 in (3, 8):
        return _addons(line, number // 5)
    return _marks(line, number // 10) if number % 10 == 5 else line


@cache
def _addon_messages() -> list[bytes]:
    addons = SimulatedAddons(random.Random(1))
    lines = [line for _ in range(_SAMPLES // 4) for line in addons.lines(START_S, 1.0)]
    return [_message(line) for line in lines]


@cache
def _mark_texts() -> list[bytes]:
    rng = random.Random(1)
    return [format_marks(rng, rng.randrange(10, 900)).encode() for _ in range(_SAMPLES)]


def _is_output(line: SimulatedLine) -> bool:
    """Whether the line is output of the app itself, or an event of it."""
    return b" host app " in line.frame and b" host app heroku-" not in line.frame


def _message(line: SimulatedLine) -> bytes:
    return line.frame.partition(b" ")[2]


def _with_message(line: SimulatedLine, message: bytes) -> SimulatedLine:
    return line._replace(frame=add_octet_count(message))


CORPORA: dict[str, Form] = {
    "usual": _as_is,
    "newlines": _newlines,
    "stamps": _stamps,
    "hostile": _hostile,
    "orders": _orders,
    "output": _output,
    "platform": _platform,
    "damaged": _damaged,
    "addons": _addons,
    "marks": _marks,
    "everything": _everything,
}
WITH_MARKS = frozenset({"marks", "everything"})  # read with custom metrics on


def in_form(lines: Sequence[SimulatedLine], corpus: str) -> list[SimulatedLine]:
    """The lines in the form of a corpus."""
    form = CORPORA[corpus]
    return [form(line, number) for number, line in enumerate(lines)]


def corpus_bodies(corpus: str, count: int) -> list[bytes]:
    """Bodies of LINES lines of 8 dynos in the form of a corpus, stamped from START_S on."""
    lines = islice(in_shares(lines_by_class(), SHARES), count * LINES)
    stamped_lines = [
        line._replace(frame=restamp(line.frame, START_S + number / LINES_PER_S))
        for number, line in enumerate(lines)
    ]
    return joined([line.frame for line in in_form(stamped_lines, corpus)], LINES)
