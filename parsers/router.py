"""Parses lines of Heroku's router: one for each finished request.

    at=info method=GET path="/" host=… request_id=… fwd="…"
        dyno=web.1 connect=1ms service=18ms status=200 bytes=13 protocol=https
    at=error code=H12 desc="Request timeout" method=GET path="/" …
        dyno=web.1 connect= service=30000ms status=503 bytes=0 protocol=https

The client controls method, path, host, request_id, fwd and agent. Router 2.0 even decodes the path,
which may then contain quotes, spaces and a complete forged tail. Therefore:

- `code` is read from the head, before the first field that the client controls.
- dyno, connect, service, status and bytes are read from the tail: the last occurrence counts,
  because the client cannot write there.

Until 2012 the lines began with the method and the address, and errors with their code:

    GET shop.herokuapp.com/ dyno=web.1 queue=0 wait=0ms service=18ms status=200 bytes=13
    Error H10 (App crashed) -> GET shop.herokuapp.com/ dyno= queue= wait= service= status=503 bytes=

Programs that pass a line on may leave something behind its last number (`bytes=828\\n`, with a
backslash). Such a request counts; only its number of bytes is unknown.

If `dyno=` is empty, the request reached no dyno. Then connect and service are no times, however
they are written: the legacy router leaves them empty, Router 2.0 writes 0ms.

Only H31 ends with a field that the client controls (agent). Its line is not read any further, since
every H31 has the same status and no dyno.

Formats: Heroku Dev Center, "HTTP Routing" and "Error Codes".
"""

from __future__ import annotations

import re

from parsers.samples import ROUTER_SOURCE, ParseError, Request, source_of

CODE_FIELD = b"code"
CLIENT_FIELDS = (b"method", b"path", b"host", b"request_id", b"fwd")  # the first of these
TAIL_FIELDS = (b"dyno", b"connect", b"service", b"status", b"bytes")

_COMMON_TAIL = re.compile(
    rb" dyno=([^ \"]*) connect=(?:([0-9]{1,10})(?:ms)?)? service=(?:([0-9]{1,10})(?:ms)?)?"
    rb" status=([1-5][0-9]{2})? bytes=([0-9]{0,15})(?:[ \n][^\"]*)?"
)
_CODE = re.compile(rb"(?:^| )%b=([^\s]*)" % CODE_FIELD)
_FIRST_FORM_CODE = re.compile(rb"Error (H[0-9]{2}) \(")
_CLIENT_FIELD = re.compile(rb"(?:^| )(?:%b)=" % b"|".join(CLIENT_FIELDS))
_USABLE_CODE = re.compile(rb"[A-Za-z0-9-]{1,16}")
_FIELD = re.compile(rb"(?:^| )(%b)=\"?([^\s\"]*)" % b"|".join(TAIL_FIELDS))

_MS = re.compile(rb"([0-9]{1,10})(?:ms)?")
_STATUS = re.compile(rb"[1-5][0-9]{2}")
_BYTES = re.compile(rb"[0-9]{1,15}")
_NO_CODE = b"at=info method="
_OTHER_CODE = "other"

_new = tuple.__new__  # half the cost of calling the class; one is created per line

_MISDIRECTED = "H31"
_MISDIRECTED_STATUS = 421


def parse(text: bytes) -> Request:
    """Parse the text of a router line.

    Raises:
        ParseError: reason "router" when there is no status field or a value is unreadable; reason
            "dyno" when the dyno's name is not one.
    """
    code = "" if text.startswith(_NO_CODE) else _code(text)
    if code == _MISDIRECTED:
        return Request(ROUTER_SOURCE, _MISDIRECTED_STATUS, code, None, None, None)
    tail = text.rfind(b" dyno=")
    match = _COMMON_TAIL.fullmatch(text, tail) if tail >= 0 else None
    if match:
        dyno, connect, service, status, size = match.groups()
        if not dyno:
            connect = service = None
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
    return _parse_any_order(text, code)


def _parse_any_order(text: bytes, code: str) -> Request:
    """Parse fields in any order, among unknown ones: the last occurrence of each counts."""
    fields: dict[bytes, bytes] = dict(_FIELD.findall(text))
    # An empty status without bytes after it means that the line was cut there.
    if b"status" not in fields or not (fields[b"status"] or b"bytes" in fields):
        raise ParseError("router")
    dyno = fields.get(b"dyno")
    is_timed = dyno != b""  # a line without the field says nothing about the dyno
    status = _number(_STATUS, fields, b"status")
    return Request(
        source_of(dyno) if dyno else ROUTER_SOURCE,
        status or 0,
        code,
        _number(_MS, fields, b"connect") if is_timed else None,
        _number(_MS, fields, b"service") if is_timed else None,
        None if _has_junk(fields.get(b"bytes", b"")) else _number(_BYTES, fields, b"bytes"),
    )


def _has_junk(size: bytes) -> bool:
    """Whether something follows the number of bytes, such as a backslash and an n."""
    return size[:1].isdigit() and not _BYTES.fullmatch(size)


def _number(pattern: re.Pattern[bytes], fields: dict[bytes, bytes], name: bytes) -> int | None:
    value = fields.get(name)
    if not value:
        return None
    if not pattern.fullmatch(value):
        raise ParseError("router")
    return int(value.removesuffix(b"ms"))


def _code(text: bytes) -> str:
    """The error code, "" for none. `at` does not matter: maintenance (H80) is logged as at=info."""
    if first_form := _FIRST_FORM_CODE.match(text):
        return first_form[1].decode()
    client_field = _CLIENT_FIELD.search(text)
    match = _CODE.search(text, 0, client_field.start() if client_field else len(text))
    if not match or not match[1]:
        return ""
    return match[1].decode() if _USABLE_CODE.fullmatch(match[1]) else _OTHER_CODE
