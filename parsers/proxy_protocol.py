"""Parses the header of the PROXY protocol, versions 1 and 2.

A TCP proxy sends this header before anything else on a connection, to pass on the address of its
client.

    version 1   PROXY TCP4 192.0.2.7 203.0.113.1 56324 6514\\r\\n
    version 2   a signature of 12 bytes, then lengths and addresses in binary

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

HEADER_BYTES_MAX = 536  # fits into the first TCP segment; version 1 needs 107
_V1_BYTES_MAX = 107
_V1 = re.compile(rb"PROXY (?:(UNKNOWN)[^\r\n]*|TCP[46] ([0-9A-Fa-f:.]+) [^\r\n ]+ [^\r\n]+)\r\n")
_V1_START = b"PROXY "
_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_BYTES = 16
_V2_VERSION = 0x20
_PROXY = 1
_IPV4, _IPV6 = 1, 2


class NoHeader(ValueError):
    """The connection does not begin with a PROXY header."""


class Header(NamedTuple):
    """A PROXY header.

    `size` is its length in bytes; the client's own bytes follow. `address` is the client's address,
    "" if the proxy connects on its own behalf or does not know it.
    """

    size: int
    address: str


def parse_header(data: bytes) -> Header | None:
    """Parse the header at the beginning of `data`; None while it is incomplete.

    Raises:
        NoHeader: `data` does not begin with a valid header.
    """
    if data[: len(_V2_SIGNATURE)] == _V2_SIGNATURE:
        return _version_2(data)
    if data[: len(_V1_START)] == _V1_START:
        return _version_1(data)
    if _V2_SIGNATURE.startswith(data) or _V1_START.startswith(data):
        return None
    raise NoHeader


def _version_1(data: bytes) -> Header | None:
    match = _V1.match(data[:_V1_BYTES_MAX])
    if match:
        return Header(match.end(), "" if match[1] else _address(match[2].decode()))
    if b"\n" in data[:_V1_BYTES_MAX] or len(data) >= _V1_BYTES_MAX:
        raise NoHeader
    return None


def _version_2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED_BYTES:
        return None
    version, command = data[12] & 0xF0, data[12] & 0x0F
    size = _V2_FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if version != _V2_VERSION or command > _PROXY or size > HEADER_BYTES_MAX:
        raise NoHeader
    if len(data) < size:
        return None
    family, body = data[13] >> 4, data[_V2_FIXED_BYTES:size]
    length = {_IPV4: 4, _IPV6: 16}.get(family, 0) if command == _PROXY else 0
    if len(body) < length:
        raise NoHeader
    return Header(size, str(ipaddress.ip_address(body[:length])) if length else "")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise NoHeader from None
