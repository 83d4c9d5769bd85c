"""The head of a POST to the drain as Logplex and the routers before us write it, read with one
pattern.

It is a strict part of what HTTP/1.1 allows (RFC 9112, section 2 to 6): whatever could be read in
two ways, or asks for more than an answer, is not usual, and left to the parser of all requests.
"""

from __future__ import annotations

import re

import msgspec

BEGINNING = b"POST /drain HTTP/1.1\r\n"
_VALUE = rb"[!-~](?:[ -~]*[!-~])?"
_HEAD = re.compile(BEGINNING + rb"((?:[A-Za-z0-9-]{1,64}: " + _VALUE + rb"\r\n)+)\r\n")
_FIELD = re.compile(rb"([^:]+): (.*)\r\n")
DIGITS_MAX = 7
KEEPS = {b"keep-alive": True, b"close": False}
HOST, CONNECTION, AUTHORIZATION = b"host", b"connection", b"authorization"
LENGTH, DRAIN = b"content-length", b"logplex-drain-token"
FRAME_ID, MSG_COUNT = b"logplex-frame-id", b"logplex-msg-count"
REPLAY = b"dynometer-replay"
READ = frozenset((HOST, CONNECTION, AUTHORIZATION, LENGTH, DRAIN, FRAME_ID, MSG_COUNT))
UNUSUAL = frozenset(
    (
        *(b"transfer-encoding", b"content-encoding", b"te", b"trailer", b"upgrade", b"expect"),
        *(b"origin", REPLAY),
    )
)


class DrainRequestHead(msgspec.Struct, frozen=True, gc=False):
    """What it says, b"" for what is not there; `promised` messages in the body, 0 where none are;
    `size` of the head and of the body behind it in bytes.
    """

    host: bytes
    authorization: bytes
    drain: bytes
    frame_id: bytes
    promised: int
    keep_alive: bool
    size: int
    body_bytes: int


def parse_common_head(data: bytes) -> DrainRequestHead | None:
    """The head that `data` begins with, whole; None for one that is not usual."""
    match = _HEAD.match(data)
    if match is None:
        return None
    fields = [(name.lower(), value) for name, value in _FIELD.findall(match[1])]
    read = [field for field in fields if field[0] in READ]
    headers = dict(read)
    keep_alive = KEEPS.get(headers.get(CONNECTION, b"keep-alive"))
    body_bytes = number(headers.get(LENGTH, b""))
    if (
        len(headers) < len(read)  # one is there twice
        or HOST not in headers
        or keep_alive is None
        or not body_bytes
        or not UNUSUAL.isdisjoint(name for name, _ in fields)
    ):
        return None
    return DrainRequestHead(
        headers[HOST],
        headers.get(AUTHORIZATION, b""),
        headers.get(DRAIN, b""),
        headers.get(FRAME_ID, b""),
        number(headers.get(MSG_COUNT, b"")),
        keep_alive,
        match.end(),
        body_bytes,
    )


def number(digits: bytes) -> int:
    """What at most DIGITS_MAX digits say; 0 of anything else."""
    return int(digits) if digits.isdigit() and len(digits) <= DIGITS_MAX else 0
