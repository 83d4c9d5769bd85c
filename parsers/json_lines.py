"""Parses log messages that a log service exported as JSON objects.

Known are the objects of Better Stack (formerly Logtail), Papertrail's API and Vector:

    {"dt": "2026-11-22T10:00:00.123Z", "message": "at=info …",
     "syslog": {"appname": "heroku", "procid": "router", …}}
    {"generated_at": "2026-11-22T10:00:00Z", "program": "heroku/router", "message": "at=info …"}
    {"timestamp": "2026-11-22T10:00:00Z", "app_name": "heroku", "proc_id": "router", "message": …}

The names are looked for in nested objects too, because services wrap them differently. Where no
name says the source, the message may be a whole line of text. Better Stack's queries return the
object as a string ("raw").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from parsers.exported_lines import parse_exported, parse_program
from parsers.log_times import TIME, parse_number_ms, parse_time_ms
from parsers.samples import ParseError
from parsers.syslog_header import EARLIEST_MS, LATEST_MS, Message

_TIMES = ("dt", "generated_at", "timestamp", "@timestamp", "time", "received_at", "_ts", "date")
_MESSAGES = ("message", "msg", "_line", "line", "log", "text", "raw", "_raw")
_APP_NAMES = ("appname", "app_name", "app-name", "source")
_PROCIDS = ("procid", "proc_id", "proc-id", "dyno", "process", "ps")
_PROGRAMS = ("program", "_app", "source", "appname", "app_name")
_BATCHES = ("events", "data", "logs", "lines", "results")
_DEPTH_MAX = 4


def batch_of(value: Any) -> list[Any]:
    """The entries of a document that lists them: {"events": […]}; else the value alone."""
    if isinstance(value, Mapping):
        for name in _BATCHES:
            entries = value.get(name)
            if isinstance(entries, list) and entries and isinstance(entries[0], Mapping):
                return entries
    return [value]


def parse_entry(entry: Any, latest_ms: int) -> Message:
    """The message of one object.

    Raises:
        ParseError: reason "header" or "timestamp".
    """
    fields: dict[str, Any] = {}
    if isinstance(entry, Mapping):  # services write it; an app may have printed the other names
        _collect(entry.get("syslog"), fields, 0)
    _collect(entry, fields, 0)
    text = _first(fields, _MESSAGES, str).rstrip("\r\n").encode(errors="replace")
    app_name = _first(fields, _APP_NAMES, str).encode(errors="replace")
    procid = _first(fields, _PROCIDS, str).encode(errors="replace")
    if app_name not in (b"app", b"heroku") or not procid or b" " in procid:
        programs = [parse_program(str(fields.get(name)).encode()) for name in _PROGRAMS]
        origin = next(filter(None, programs), None)
        if origin is None:
            return parse_exported(text, latest_ms).message
        app_name, procid = origin
    return Message(_time_ms(fields, latest_ms), app_name, procid, text)


def form_of(entry: Any) -> str:
    """The name of the form of an object, by the names in it."""
    names = entry.keys() if isinstance(entry, Mapping) else ()
    if "dt" in names:
        return "Better Stack JSON"
    return "Papertrail JSON" if "program" in names else "JSON"


def _collect(value: Any, fields: dict[str, Any], depth: int) -> None:
    """Collect the values of an object and of those in it; outer names go first."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if not isinstance(value, Mapping) or depth > _DEPTH_MAX:
        return
    for name, item in value.items():
        if not isinstance(item, Mapping):
            fields.setdefault(name.lower(), item)
    for name, item in value.items():
        if isinstance(item, Mapping) or name == "raw":
            _collect(item, fields, depth + 1)


def _first(fields: Mapping[str, Any], names: tuple[str, ...], kind: type[str]) -> str:
    values = (fields.get(name) for name in names)
    return next((value for value in values if isinstance(value, kind) and value), "")


def _time_ms(fields: Mapping[str, Any], latest_ms: int) -> int:
    for name in _TIMES:
        value = fields.get(name)
        if isinstance(value, str) and (match := TIME.fullmatch(value.encode(errors="replace"))):
            return parse_time_ms(match, latest_ms)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            at_ms = parse_number_ms(value) if value < 10**20 else LATEST_MS + 1
            if EARLIEST_MS <= at_ms <= LATEST_MS:
                return at_ms
    raise ParseError("timestamp")
