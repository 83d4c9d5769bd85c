"""Reads JSON objects from a file: one per line, or in a list, printed in any way."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from app.traffic.log_line import LogLine
from parsers.json_lines import batch_of, parse_entry
from parsers.samples import ParseError

OBJECT_CHARS_MAX = 2**24  # a list of 1,000 messages within an object has about a million
_RETRY_CHARS = 2**16  # an object with so much text is tried again only when it has twice as much
_SEPARATORS = re.compile(r"[\s,\[\]\x1e]*")  # RFC 7464 writes \x1e before each object
_WORD_CHARS = 8  # false, or \u00e9
_decode = json.JSONDecoder().raw_decode


class JsonObject(NamedTuple):
    """A value and its text. The value of damaged JSON is None."""

    value: Any
    text: str


def split_objects(text: str, *, final: bool) -> tuple[list[JsonObject], str]:
    """(the objects of a text, the incomplete rest of it)."""
    objects: list[JsonObject] = []
    position = 0
    while (position := _position_after_separators(text, position)) < len(text):
        try:
            value, end = _decode(text, position)
        except (ValueError, RecursionError) as error:
            if not final and _may_be_incomplete(error, text, position):
                break
            value = None
            end = text.find("\n", position) + 1 or len(text)
        objects.append(JsonObject(value, text[position:end]))
        position = end
    return objects, text[position:]


def _position_after_separators(text: str, position: int) -> int:
    match = _SEPARATORS.match(text, position)
    return match.end() if match else position


def _may_be_incomplete(error: Exception, text: str, position: int) -> bool:
    if not isinstance(error, json.JSONDecodeError) or len(text) - position > OBJECT_CHARS_MAX:
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _WORD_CHARS


def read_objects(chunks: Iterable[bytes], latest_ms: int) -> Iterator[list[LogLine]]:
    """Yield the lines of each chunk. `latest_ms` is about the latest possible time."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    size_tried = 0
    for chunk in chunks:
        rest += decoder.decode(chunk)
        if size_tried > _RETRY_CHARS and len(rest) < 2 * size_tried:
            yield []
            continue
        objects, rest = split_objects(rest, final=False)
        size_tried = len(rest)
        yield lines_of(objects, latest_ms)
    objects, _ = split_objects(rest + decoder.decode(b"", final=True), final=True)
    yield lines_of(objects, latest_ms)


def lines_of(objects: Iterable[JsonObject], latest_ms: int) -> list[LogLine]:
    """The lines of these objects. An object may list several."""
    lines: list[LogLine] = []
    for value, text in objects:
        entries = batch_of(value)
        for entry in entries:
            raw = (text if len(entries) == 1 else json.dumps(entry)).encode(errors="replace")
            try:
                lines.append(LogLine(raw, False, parse_entry(entry, latest_ms)))
            except ParseError as error:
                lines.append(LogLine(raw, False, None, error.reason))
    return lines
