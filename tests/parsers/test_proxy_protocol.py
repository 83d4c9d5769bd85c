"""PROXY headers of both versions, complete and in pieces."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.proxy_protocol import HEADER_BYTES_MAX, Header, NoHeader, parse_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4, V6 = ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")


def v1(family: str, source: object, target: object) -> bytes:
    return f"PROXY {family} {source} {target} 56324 6514\r\n".encode()


def v2(command: int, family: int, addresses: bytes) -> bytes:
    fixed_part = SIGNATURE + bytes([0x20 | command, family << 4 | 1])
    return fixed_part + len(addresses).to_bytes(2, "big") + addresses


HEADERS = [
    (v1("TCP4", V4, V4), "192.0.2.7"),
    (v1("TCP6", V6, V6), "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff:f::1 ffff::2 65535 65535\r\n", ""),
    (v2(1, 1, V4.packed * 2 + b"\xdc\x04\x19\x72"), "192.0.2.7"),
    (v2(1, 2, V6.packed * 2 + b"\xdc\x04\x19\x72"), "2001:db8::7"),
    (v2(1, 1, V4.packed * 2 + b"\xdc\x04\x19\x72" + b"\x03\x00\x04crc3"), "192.0.2.7"),  # with TLVs
    (v2(0, 0, b""), ""),  # LOCAL: the proxy's own health check
    (v2(1, 3, bytes(216)), ""),  # a UNIX socket
]


@pytest.mark.parametrize(("data", "address"), HEADERS)
@pytest.mark.parametrize("rest", [b"", b"\x16\x03\x01", b"170 <158>1 ", b"PROXY TCP4"])
def test_a_header_ends_where_the_bytes_of_the_client_begin(
    data: bytes, address: str, rest: bytes
) -> None:
    assert parse_header(data + rest) == Header(len(data), address)
    assert all(parse_header(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"170 <158>1 2026",
        b"<158>1 2026",
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 999.0.2.7 192.0.2.7 1 2\r\n",
        b"PROXY " + b"x" * 200,
        b"\r\n\r\nGET",
        v2(1, 1, b"abc"),
        v2(2, 1, V4.packed * 3),
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),  # another version
        SIGNATURE + b"\x21\x11\xff\xff",  # longer than any header
    ],
)
def test_anything_else_is_not_a_header(data: bytes) -> None:
    with pytest.raises(NoHeader):
        parse_header(data)


@given(st.binary(max_size=64), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 "]))
def test_any_bytes_are_a_header_an_incomplete_one_or_none(data: bytes, start: bytes) -> None:
    try:
        header = parse_header(start + data)
    except NoHeader:
        return
    assert header is None or 0 < header.size <= min(HEADER_BYTES_MAX, len(start + data))
