"""What is taken for a usual head is a head for every parser, and says the same."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.usual_head import BEGINNING, READ, usual_head

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
    found = usual_head(head(USUAL) + b"body")
    assert found is not None
    fields = {name.lower(): value for name, value in USUAL.items()}
    assert found.headers == {name: fields[name] for name in READ if name in fields}
    assert (found.keep_alive, found.size) == (True, len(head(USUAL)))


def test_fields_that_nobody_reads_may_come_twice() -> None:
    fields = head(USUAL).replace(b"\r\n\r\n", b"\r\nVia: 1.1 a\r\nVia: 1.1 b\r\n\r\n")
    found, without = usual_head(fields + b"body"), usual_head(head(USUAL) + b"body")
    assert found is not None
    assert without is not None
    assert found.headers == without.headers


@pytest.mark.parametrize(("value", "keep_alive"), [(b"close", False), (b"keep-alive", True)])
def test_what_is_to_become_of_the_connection_is_read(value: bytes, keep_alive: bool) -> None:
    found = usual_head(head({**USUAL, b"Connection": value}))
    assert found is not None
    assert found.keep_alive is keep_alive


UNUSUAL = {
    "chunks": head({**USUAL, b"Transfer-Encoding": b"chunked"}),
    "a packed body": head({**USUAL, b"Content-Encoding": b"gzip"}),
    "who waits to be asked": head({**USUAL, b"Expect": b"100-continue"}),
    "another protocol": head({**USUAL, b"Connection": b"upgrade", b"Upgrade": b"websocket"}),
    "a page of another origin": head({**USUAL, b"Origin": b"http://evil.example"}),
    "two lengths": head({**USUAL, b"content-length": b"5"}),
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
    assert usual_head(UNUSUAL[name] + b"body") is None


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
    found = usual_head(data)
    if found is None:
        return
    length = found.headers.get(b"content-length", b"")
    if not length.isdigit() or found.size + int(length) > len(data):
        return  # the drain does not take it at once
    size = int(length)
    other = Reference(data[: found.size + size])
    read = [field for field in other.headers if field[0] in READ]
    assert dict(read) == found.headers
    assert len(read) == len(found.headers)
    assert other.whole == 1
    assert other.body == data[found.size : found.size + size]
    assert (other.method, other.url) == (b"POST", b"/drain")
    assert other.keep_alive == found.keep_alive
