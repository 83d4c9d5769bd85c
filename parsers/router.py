"""Lines of Heroku's router: one for each request that ended.

    at=info method=GET path="/" host=… request_id=… fwd="…"
        dyno=web.1 connect=1ms service=18ms status=200 bytes=13 protocol=https
    at=error code=H12 desc="Request timeout" method=GET path="/" …
        dyno=web.1 connect= service=30000ms status=503 bytes=0 protocol=https

The client writes method, path, host, request_id, fwd and agent. Router 2.0 even decodes the path,
so that quotes, spaces and a whole forged tail can stand in it. Hence:

- `code` is read from the head, before the first field that a client writes;
- dyno, connect, service, status, bytes are read from the tail: the last occurrence counts, which a
  client cannot write.

H31 alone ends with a field of the client's (agent): of it, only what is always so is believed.
Formats: Heroku Dev Center, "HTTP Routing" and "Error Codes".
"""

from __future__ import annotations

import re

from parsers.samples import ROUTER_SOURCE, ParseError, Request, source_of

_USUAL_TAIL = re.compile(
    rb" dyno=([^ ]*) connect=(?:([0-9]{1,10})(?:ms)?)? service=(?:([0-9]{1,10})(?:ms)?)?"
    rb" status=([1-5][0-9]{2})? bytes=([0-9]{0,15})(?:[ \n][^\"]*)?"
)
_CODE = re.compile(rb"(?:^| )code=([^\s]*)")
_CLIENT_FIELD = re.compile(rb"(?:^| )(?:method|path|host|request_id|fwd)=")
_USABLE_CODE = re.compile(rb"[A-Za-z0-9-]{1,16}")
_FIELD = re.compile(rb"(?:^| )(dyno|connect|service|status|bytes)=\"?([^\s\"]*)")

_MS = re.compile(rb"([0-9]{1,10})(?:ms)?")
_STATUS = re.compile(rb"[1-5][0-9]{2}")
_BYTES = re.compile(rb"[0-9]{1,15}")
_NO_CODE = b"at=info method="
_OTHER_CODE = "other"

_new = tuple.__new__  # half the cost of calling the class, for what is made once per line

_MISDIRECTED = "H31"
_MISDIRECTED_STATUS = 421


def parse(text: bytes) -> Request:
    """
    Raises:
        ParseError: reason "router" when there is no status field, or a value is not readable;
        "dyno".
    """
    code = "" if text.startswith(_NO_CODE) else _code(text)
    if code == _MISDIRECTED:
        return Request(ROUTER_SOURCE, _MISDIRECTED_STATUS, code, None, None, None)
    tail = text.rfind(b" dyno=")
    match = _USUAL_TAIL.fullmatch(text, tail) if tail >= 0 else None
    if match:
        dyno, connect, service, status, size = match.groups()
        return _new(
            Request,
            (
                source_of(dyno) if dyno else ROUTER_SOURCE,
                int(status) if status else 0,
                code,
                int(connect) if connect else None,
                int(service) if service else None,
                int(size) if size else None,
            ),
        )
    return _parse_unusual(text, code)


def _parse_unusual(text: bytes, code: str) -> Request:
    """Any order of fields, unknown ones among them: the last occurrence of each counts."""
    fields: dict[bytes, bytes] = dict(_FIELD.findall(text))
    if b"status" not in fields or not (fields[b"status"] or b"bytes" in fields):  # it is cut there
        raise ParseError("router")
    dyno = fields.get(b"dyno")
    status = _number(_STATUS, fields, b"status")
    return Request(
        source_of(dyno) if dyno else ROUTER_SOURCE,
        status or 0,
        code,
        _number(_MS, fields, b"connect"),
        _number(_MS, fields, b"service"),
        _number(_BYTES, fields, b"bytes"),
    )


def _number(pattern: re.Pattern[bytes], fields: dict[bytes, bytes], name: bytes) -> int | None:
    value = fields.get(name)
    if not value:
        return None
    if not pattern.fullmatch(value):
        raise ParseError("router")
    return int(value.removesuffix(b"ms"))


def _code(text: bytes) -> str:
    """The error code, "" for none, whatever `at` says: maintenance (H80) is at=info."""
    client = _CLIENT_FIELD.search(text)
    found = _CODE.search(text, 0, client.start() if client else len(text))
    if not found or not found[1]:
        return ""
    return found[1].decode() if _USABLE_CODE.fullmatch(found[1]) else _OTHER_CODE
