"""Parses the head of a POST to the drain, as Logplex and the routers before us write it.

The accepted form is a strict subset of HTTP/1.1 (RFC 9112, sections 2 to 6). A head that could be
read in two ways, or that requires more than an answer, is not accepted here. It goes to the parser
of all other requests.
"""

from __future__ import annotations

import re

import msgspec

REQUEST_LINES = (b"POST /drain HTTP/1.1\r\n", b"POST /drain/ HTTP/1.1\r\n")
_VALUE = rb"[!-~](?:[ -~]*[!-~])?"
_HEAD = re.compile(
    b"(?:"
    + b"|".join(map(re.escape, REQUEST_LINES))
    + rb")((?:[A-Za-z0-9-]{1,64}: "
    + _VALUE
    + rb"\r\n)+)\r\n"
)
_FIELD = re.compile(rb"([^:]+): (.*)\r\n")
DIGITS_MAX = 7
KEEP_ALIVE = {b"keep-alive": True, b"close": False}  # by value of Connection
HOST, CONNECTION, AUTHORIZATION = b"host", b"connection", b"authorization"
LENGTH, DRAIN = b"content-length", b"logplex-drain-token"
FRAME_ID, MSG_COUNT = b"logplex-frame-id", b"logplex-msg-count"
REQUEST_ID = b"x-request-id"
DROP_COUNT, LOST_COUNT = b"logplex-drop-count", b"logplex-lost-count"
REPLAY, SIMULATION = b"dynometer-replay", b"dynometer-simulation"
USED_HEADERS = frozenset(
    (HOST, CONNECTION, AUTHORIZATION, LENGTH, DRAIN, FRAME_ID, MSG_COUNT, REQUEST_ID)
)
# A request with one of these needs the full parser, or checks that the fast path does not make.
SLOW_PATH_HEADERS = frozenset(
    (
        *(b"transfer-encoding", b"content-encoding", b"te", b"trailer", b"upgrade", b"expect"),
        *(b"origin", b"proxy-connection", REPLAY, SIMULATION, DROP_COUNT, LOST_COUNT),
    )
)


class DrainRequestHead(msgspec.Struct, frozen=True, gc=False):
    """The headers that the drain uses; b"" for a header that is absent.

    `msg_count` is the number of messages promised by Logplex-Msg-Count, 0 if there is none. `size`
    is the size of the head and `body_bytes` that of the body after it.
    """

    host: bytes
    authorization: bytes
    drain: bytes
    frame_id: bytes
    msg_count: int
    request_id: bytes
    keep_alive: bool
    size: int
    body_bytes: int


def parse_common_head(data: bytes) -> DrainRequestHead | None:
    """Parse the complete head at the start of `data`; None if it does not have the common form."""
    match = _HEAD.match(data)
    if match is None:
        return None
    fields = [(name.lower(), value) for name, value in _FIELD.findall(match[1])]
    used_fields = [field for field in fields if field[0] in USED_HEADERS]
    headers = dict(used_fields)
    keep_alive = KEEP_ALIVE.get(headers.get(CONNECTION, b"keep-alive"))
    body_bytes = parse_count(headers.get(LENGTH, b""))
    if (
        len(headers) < len(used_fields)  # a header occurs twice
        or HOST not in headers
        or keep_alive is None
        or not body_bytes
        or not SLOW_PATH_HEADERS.isdisjoint(name for name, _ in fields)
    ):
        return None
    return DrainRequestHead(
        headers[HOST],
        headers.get(AUTHORIZATION, b""),
        headers.get(DRAIN, b""),
        headers.get(FRAME_ID, b""),
        parse_count(headers.get(MSG_COUNT, b"")),
        headers.get(REQUEST_ID, b""),
        keep_alive,
        match.end(),
        body_bytes,
    )


def parse_count(digits: bytes) -> int:
    """Parse up to DIGITS_MAX decimal digits; 0 for anything else."""
    return int(digits) if digits.isdigit() and len(digits) <= DIGITS_MAX else 0
