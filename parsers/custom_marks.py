"""Parses the marks of custom metrics in an app's own output, in the convention of l2met.

    at=finish count#signups=1 measure#db.query=12.5ms sample#queue.depth=42jobs source=eu

A mark is a word of the line. `count#` adds up; without a value it counts 1, and it only goes up.
`measure#` is a distribution, `sample#` a gauge. `source=` applies to all marks of its line.
HireFire's line is a measure, too:

    [hirefire:router] queue=12ms

Nothing else of the text is read, and only if custom metrics are on for the app.

Convention: l2met's README and parser (ryandotsmith/l2met), and Heroku Dev Center, "Librato".
"""

from __future__ import annotations

import re

from parsers.numbers import MILLION, Quantity, parse_quantity
from parsers.samples import PROCESS_TYPE, CustomMark, CustomMarks, ParseError, source_of

MARKS_MAX = 100  # of one line
_MARK = re.compile(rb'(?:^|(?<=\s))(count|measure|sample)#([^\s=]+)(?:="?([^\s"]*)"?)?(?=\s|\Z)')
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,100}")
_ORIGIN = re.compile(rb'(?:^|\s)source=("?)([A-Za-z0-9._-]{1,100})\1(?=\s|\Z)')
# Add-ons write logs under such names, too: their statements are no text of the app.
_DYNO = re.compile(rb"(?!postgres\.)%b\.[0-9]{1,9}" % PROCESS_TYPE.encode())
HIREFIRE = b"[hirefire:router] queue="
QUEUE_TIME = b"queue_time"  # the name of HireFire's times
_HIREFIRE_TIME = re.compile(re.escape(HIREFIRE) + rb"([0-9.]+ms)(?=\s|\Z)")
_ONE = Quantity(MILLION, 1.0, "")


def parse(procid: bytes, text: bytes) -> CustomMarks | None:
    """The marks in a line of a dyno; None if it has none.

    Raises:
        ParseError: none of its marks is readable (reason "custom").
    """
    if b"#" not in text and HIREFIRE not in text:
        return None
    source = dyno_source(procid)
    if source is None:
        return None
    words = _MARK.findall(text)
    marks = [
        CustomMark(kind.decode(), name.decode(), quantity)
        for kind, name, value in words[:MARKS_MAX]
        if (quantity := _quantity(kind, value)) is not None and _NAME.fullmatch(name)
    ]
    total = len(words)
    if queue_time := _HIREFIRE_TIME.search(text):
        total += 1
        if (quantity := parse_quantity(queue_time[1])) is not None:
            marks.append(CustomMark("measure", QUEUE_TIME.decode(), quantity))
    if not total:
        return None
    if not marks:
        raise ParseError("custom")
    origin = _ORIGIN.search(text)
    return CustomMarks(
        source, origin[2].decode() if origin else "", tuple(marks), total - len(marks)
    )


def dyno_source(procid: bytes) -> str | None:
    """The source of a dyno that writes an app's own output; None for any other writer."""
    return source_of(procid) if _DYNO.fullmatch(procid) else None


def _quantity(kind: bytes, value: bytes) -> Quantity | None:
    if kind != b"count":
        return parse_quantity(value)
    quantity = parse_quantity(value) if value else _ONE
    return quantity if quantity is not None and quantity.millionths >= 0 else None
