"""What is taken for a usual head is a head for every parser, and says the same."""

from __future__ import annotations

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.request_head import (
    BEGINNING,
    DIGITS_MAX,
    READ,
    DrainRequestHead,
    parse_common_head,
)

USUAL = {
    b"Host": b"localhost",
    b"Authorization": b"Basic c2hvcDphbnk=",
    b"Content-Type": b"application/logplex-1",
    b"Logplex-Msg-Count": b"1",
    b"Logplex-Frame-Id": b"A1",
    b"User-Agent": b"Logplex/v73",
    b"Content-Length": b"4",
}


class Reference:
    """What llhttp reads."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.url = b""
        self.whole = 0
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
        self.whole += 1


def head(fields: dict[bytes, bytes]) -> bytes:
    return BEGINNING + b"".join(b"%b: %b\r\n" % field for field in fields.items()) + b"\r\n"


def test_logplex_own_head_is_usual() -> None:
    found = parse_common_head(head(USUAL) + b"body")
    assert found is not None
    assert found == DrainRequestHead(
        host=b"localhost",
        authorization=b"Basic c2hvcDphbnk=",
        drain=b"",
        frame_id=b"A1",
        promised=1,
        keep_alive=True,
        size=len(head(USUAL)),
        body_bytes=4,
    )


def test_fields_that_nobody_reads_may_come_twice() -> None:
    fields = head(USUAL).replace(b"\r\n\r\n", b"\r\nVia: 1.1 a\r\nVia: 1.1 b\r\n\r\n")
    found, without = parse_common_head(fields + b"body"), parse_common_head(head(USUAL) + b"body")
    assert found is not None
    assert without is not None
    assert found == msgspec.structs.replace(without, size=found.size)


@pytest.mark.parametrize(("value", "keep_alive"), [(b"close", False), (b"keep-alive", True)])
def test_what_is_to_become_of_the_connection_is_read(value: bytes, keep_alive: bool) -> None:
    found = parse_common_head(head({**USUAL, b"Connection": value}))
    assert found is not None
    assert found.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("value", "promised"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"9" * DIGITS_MAX, int("9" * DIGITS_MAX)),
        (b"9" * (DIGITS_MAX + 1), 0),
        *((value, 0) for value in (b"-1", b"+1", b"1.0", b"1 1", b"x")),
    ],
)
def test_how_many_messages_are_promised_is_read_where_it_can_be(
    value: bytes, promised: int
) -> None:
    found = parse_common_head(head({**USUAL, b"Logplex-Msg-Count": value}))
    assert found is not None
    assert found.promised == promised


UNUSUAL = {
    "chunks": head({**USUAL, b"Transfer-Encoding": b"chunked"}),
    "a packed body": head({**USUAL, b"Content-Encoding": b"gzip"}),
    "who waits to be asked": head({**USUAL, b"Expect": b"100-continue"}),
    "another protocol": head({**USUAL, b"Connection": b"upgrade", b"Upgrade": b"websocket"}),
    "a page of another origin": head({**USUAL, b"Origin": b"http://evil.example"}),
    "two lengths": head({**USUAL, b"content-length": b"5"}),
    "two drains": head({**USUAL, b"Logplex-Drain-Token": b"d.1", b"logplex-drain-token": b"d.2"}),
    "no length": head({name: value for name, value in USUAL.items() if name != b"Content-Length"}),
    "no body": head({**USUAL, b"Content-Length": b"0"}),
    "a length that is none": head({**USUAL, b"Content-Length": b"+4"}),
    "a length of many digits": head({**USUAL, b"Content-Length": b"4".zfill(DIGITS_MAX + 1)}),
    "old lines on purpose": head({**USUAL, b"Dynometer-Replay": b"1"}),
    "two hosts": head({**USUAL, b"host": b"evil.example"}),
    "no host": head({name: value for name, value in USUAL.items() if name != b"Host"}),
    "an end that is missing": head(USUAL)[:-2],
    "a folded field": head(USUAL).replace(b"v73\r\n", b"v73\r\n more\r\n"),
    "a bare line feed": head(USUAL).replace(b"v73\r\n", b"v73\n"),
    "a bare carriage return": head({**USUAL, b"X": b"a\rb"}),
    "a zero byte": head({**USUAL, b"X": b"a\0b"}),
    "a byte above 127": head({**USUAL, b"X": b"\xff"}),
    "a tab": head({**USUAL, b"X": b"a\tb"}),
    "a space before the colon": head({**USUAL, b"X ": b"a"}),
    "a space behind the value": head({**USUAL, b"X": b"a "}),
    "an empty value": head({**USUAL, b"X": b""}),
    "another path": head(USUAL).replace(b"/drain", b"/drains"),
    "another version": head(USUAL).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_could_be_read_in_two_ways_or_asks_for_more_is_not_usual(name: str) -> None:
    assert parse_common_head(UNUSUAL[name] + b"body") is None


PIECES = st.sampled_from(
    [
        *(b"\r\n", b"\r", b"\n", b": ", b":", b" ", b"\t", b"\0", b"a", b"4", b",", b"\xe9"),
        *(b"Content-Length", b"Transfer-Encoding", b"chunked", b"Connection", b"close", b"Host"),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 4), PIECES), max_size=4))
def test_whatever_is_usual_is_read_alike_by_the_parser_of_all_requests(
    changes: list[tuple[int, int, bytes]],
) -> None:
    data = head(USUAL) + b"body"
    for position, cut, piece in changes:
        data = data[:position] + piece + data[position + cut :]
    found = parse_common_head(data)
    if found is None:
        return
    whole = found.size + found.body_bytes
    if whole > len(data):
        return
    other = Reference(data[:whole])
    names = [name for name, _ in other.headers if name in READ]
    headers = dict(other.headers)
    assert len(names) == len(set(names))
    assert headers[b"host"] == found.host
    assert headers.get(b"authorization", b"") == found.authorization
    assert headers.get(b"logplex-drain-token", b"") == found.drain
    assert headers.get(b"logplex-frame-id", b"") == found.frame_id
    assert other.whole == 1
    assert other.body == data[found.size : whole]
    assert (other.method, other.url) == (b"POST", b"/drain")
    assert other.keep_alive == found.keep_alive
