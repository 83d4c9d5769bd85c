"""Every head that the fast path accepts is read alike by llhttp."""

from __future__ import annotations

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.request_head import (
    DIGITS_MAX,
    REQUEST_LINES,
    USED_HEADERS,
    DrainRequestHead,
    parse_common_head,
)

COMMON = {
    b"Host": b"localhost",
    b"Authorization": b"Basic c2hvcDphbnk=",
    b"Content-Type": b"application/logplex-1",
    b"Logplex-Msg-Count": b"1",
    b"Logplex-Frame-Id": b"A1",
    b"User-Agent": b"Logplex/v73",
    b"Content-Length": b"4",
}


class Reference:
    """The request as llhttp reads it."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.url = b""
        self.requests = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.keep_alive = parser.should_keep_alive()
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests += 1


def head(fields: dict[bytes, bytes]) -> bytes:
    return REQUEST_LINES[0] + b"".join(b"%b: %b\r\n" % field for field in fields.items()) + b"\r\n"


def test_the_head_of_logplex_is_accepted() -> None:
    result = parse_common_head(head(COMMON) + b"body")
    assert result is not None
    assert result == DrainRequestHead(
        host=b"localhost",
        authorization=b"Basic c2hvcDphbnk=",
        drain=b"",
        frame_id=b"A1",
        msg_count=1,
        request_id=b"",
        keep_alive=True,
        size=len(head(COMMON)),
        body_bytes=4,
    )


def test_unused_headers_may_occur_twice() -> None:
    fields = head(COMMON).replace(b"\r\n\r\n", b"\r\nVia: 1.1 a\r\nVia: 1.1 b\r\n\r\n")
    result, single = parse_common_head(fields + b"body"), parse_common_head(head(COMMON) + b"body")
    assert result is not None
    assert single is not None
    assert result == msgspec.structs.replace(single, size=result.size)


def test_a_slash_at_the_end_of_the_path_changes_nothing() -> None:
    data = head(COMMON).replace(b"/drain", b"/drain/")
    result, plain = parse_common_head(data + b"body"), parse_common_head(head(COMMON) + b"body")
    assert plain is not None
    assert result == msgspec.structs.replace(plain, size=len(data))


def test_the_request_id_is_read() -> None:
    result = parse_common_head(head({**COMMON, b"X-Request-Id": b"4f8a6a2e"}))
    assert result is not None
    assert result.request_id == b"4f8a6a2e"


@pytest.mark.parametrize(("value", "keep_alive"), [(b"close", False), (b"keep-alive", True)])
def test_the_connection_header_is_read(value: bytes, keep_alive: bool) -> None:
    result = parse_common_head(head({**COMMON, b"Connection": value}))
    assert result is not None
    assert result.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("value", "msg_count"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"9" * DIGITS_MAX, int("9" * DIGITS_MAX)),
        (b"9" * (DIGITS_MAX + 1), 0),
        *((value, 0) for value in (b"-1", b"+1", b"1.0", b"1 1", b"x")),
    ],
)
def test_msg_count_is_read_if_it_is_a_number(value: bytes, msg_count: int) -> None:
    result = parse_common_head(head({**COMMON, b"Logplex-Msg-Count": value}))
    assert result is not None
    assert result.msg_count == msg_count


UNCOMMON = {
    "a version without its dot": head(COMMON).replace(b"HTTP/1.1", b"HTTP/1x1"),
    "chunks": head({**COMMON, b"Transfer-Encoding": b"chunked"}),
    "a compressed body": head({**COMMON, b"Content-Encoding": b"gzip"}),
    "a sender that waits for 100": head({**COMMON, b"Expect": b"100-continue"}),
    "another protocol": head({**COMMON, b"Connection": b"upgrade", b"Upgrade": b"websocket"}),
    "a page of another origin": head({**COMMON, b"Origin": b"http://evil.example"}),
    "two lengths": head({**COMMON, b"content-length": b"5"}),
    "two drains": head({**COMMON, b"Logplex-Drain-Token": b"d.1", b"logplex-drain-token": b"d.2"}),
    "no length": head({name: value for name, value in COMMON.items() if name != b"Content-Length"}),
    "no body": head({**COMMON, b"Content-Length": b"0"}),
    "a length that is none": head({**COMMON, b"Content-Length": b"+4"}),
    "a length of many digits": head({**COMMON, b"Content-Length": b"4".zfill(DIGITS_MAX + 1)}),
    "old lines on purpose": head({**COMMON, b"Dynometer-Replay": b"1"}),
    "losses before the batch": head({**COMMON, b"Logplex-Drop-Count": b"1"}),
    "two request ids": head({**COMMON, b"X-Request-Id": b"1", b"x-request-id": b"2"}),
    "two hosts": head({**COMMON, b"host": b"evil.example"}),
    "no host": head({name: value for name, value in COMMON.items() if name != b"Host"}),
    "an end that is missing": head(COMMON)[:-2],
    "a folded field": head(COMMON).replace(b"v73\r\n", b"v73\r\n more\r\n"),
    "a bare line feed": head(COMMON).replace(b"v73\r\n", b"v73\n"),
    "a bare carriage return": head({**COMMON, b"X": b"a\rb"}),
    "a zero byte": head({**COMMON, b"X": b"a\0b"}),
    "a byte above 127": head({**COMMON, b"X": b"\xff"}),
    "a tab": head({**COMMON, b"X": b"a\tb"}),
    "a space before the colon": head({**COMMON, b"X ": b"a"}),
    "a space behind the value": head({**COMMON, b"X": b"a "}),
    "an empty value": head({**COMMON, b"X": b""}),
    "two slashes": head(COMMON).replace(b"/drain", b"/drain//"),
    "another path": head(COMMON).replace(b"/drain", b"/drains"),
    "another version": head(COMMON).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", UNCOMMON)
def test_ambiguous_or_demanding_heads_are_not_accepted(name: str) -> None:
    assert parse_common_head(UNCOMMON[name] + b"body") is None


PIECES = st.sampled_from(
    [
        *(b"\r\n", b"\r", b"\n", b": ", b":", b" ", b"\t", b"\0", b"a", b"4", b",", b"\xe9"),
        *(b"Content-Length", b"Transfer-Encoding", b"chunked", b"Connection", b"close", b"Host"),
        *(b"X-Request-Id", b"/drain/ HTTP/1.1\r\n"),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 4), PIECES), max_size=4))
def test_every_accepted_head_is_read_alike_by_llhttp(
    changes: list[tuple[int, int, bytes]],
) -> None:
    data = head(COMMON) + b"body"
    for position, cut, piece in changes:
        data = data[:position] + piece + data[position + cut :]
    result = parse_common_head(data)
    if result is None:
        return
    end = result.size + result.body_bytes
    if end > len(data):
        return
    reference = Reference(data[:end])
    names = [name for name, _ in reference.headers if name in USED_HEADERS]
    headers = dict(reference.headers)
    assert len(names) == len(set(names))
    assert headers[b"host"] == result.host
    assert headers.get(b"authorization", b"") == result.authorization
    assert headers.get(b"logplex-drain-token", b"") == result.drain
    assert headers.get(b"logplex-frame-id", b"") == result.frame_id
    assert reference.requests == 1
    assert reference.body == data[result.size : end]
    assert reference.method == b"POST"
    assert reference.url in (b"/drain", b"/drain/")
    assert headers.get(b"x-request-id", b"") == result.request_id
    assert reference.keep_alive == result.keep_alive
