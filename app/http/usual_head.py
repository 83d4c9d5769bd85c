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
KEEPS = {b"keep-alive": True, b"close": False}
READ = frozenset(
    (
        *(b"host", b"connection", b"authorization", b"content-length", b"dynometer-replay"),
        *(b"logplex-drain-token", b"logplex-frame-id", b"logplex-msg-count"),
    )
)
UNUSUAL = frozenset(
    (b"transfer-encoding", b"content-encoding", b"te", b"trailer", b"upgrade", b"expect", b"origin")
)


class Head(msgspec.Struct, frozen=True, gc=False):
    """Those fields that are READ, by their name in lower case; `size` of the head in bytes."""

    headers: dict[bytes, bytes]
    keep_alive: bool
    size: int


def usual_head(data: bytes) -> Head | None:
    """The head that `data` begins with, whole; None for one that is not usual."""
    match = _HEAD.match(data)
    if match is None:
        return None
    fields = [(name.lower(), value) for name, value in _FIELD.findall(match[1])]
    read = [field for field in fields if field[0] in READ]
    headers = dict(read)
    keep_alive = KEEPS.get(headers.get(b"connection", b"keep-alive"))
    if (
        len(headers) < len(read)  # one is there twice
        or b"host" not in headers
        or keep_alive is None
        or not UNUSUAL.isdisjoint(name for name, _ in fields)
    ):
        return None
    return Head(headers, keep_alive, match.end())
