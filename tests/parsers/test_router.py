"""Router lines: values from the router are read, text from a client is not trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.router import parse
from parsers.samples import ParseError, Request
from tests.support.lines import router_text

FORGED = 'x" dyno=evil.9 connect=7ms service=7ms status=500 bytes=7 protocol=http y="'


def read(text: str) -> Request:
    """The request of a line, the same with and without its newline."""
    assert parse(text.encode()) == parse(text.encode() + b"\n")
    return parse(text.encode())


def test_a_line_of_the_legacy_router() -> None:
    assert read(router_text()) == Request("web.1", 200, "", 1, 18, 512)


def test_a_line_of_router_2() -> None:
    line = router_text(
        fwd="192.0.2.1", connect="0ms", more=" protocol=http2.0 tls=true tls_version=tls1.3"
    )
    assert read(line) == Request("web.1", 200, "", 0, 18, 512)


def test_an_old_line_without_a_protocol_and_with_an_unquoted_path() -> None:
    line = (
        "at=info method=GET path=/ host=shop.example.com request_id=0f fwd=192.0.2.1 "
        "dyno=web.12 connect=2ms service=30ms status=304 bytes=0"
    )
    assert read(line) == Request("web.12", 304, "", 2, 30, 0)


def test_lines_until_2012() -> None:
    line = "GET shop.example.com/ dyno=web.1 queue=0 wait=0ms service=18ms status=200 bytes=13"
    assert read(line) == Request("web.1", 200, "", None, 18, 13)
    failed = (
        "Error H10 (App crashed) -> GET shop.example.com/ "
        "dyno= queue= wait= service= status=503 bytes="
    )
    assert read(failed) == Request("web.", 503, "H10", None, None, None)


NO_DYNO = "dyno= connect= service= status=503 bytes="
HEADS = {
    "H10": 'at=error code=H10 desc="App crashed"',
    "H11": 'at=error code=H11 desc="Backlog too deep"',
    "H12": 'at=error code=H12 desc="Request timeout"',
    "H13": 'at=error code=H13 desc="Connection closed without response"',
    "H14": 'at=error code=H14 desc="No web processes running"',
    "H15": 'at=error code=H15 desc="Idle connection"',
    "H17": 'at=error code=H17 desc="Poorly formatted HTTP response"',
    "H18": 'sock=backend at=error code=H18 desc="Server Request Interrupted"',
    "H19": 'at=error code=H19 desc="Backend connection timeout"',
    "H20": 'at=error code=H20 desc="App boot timeout"',
    "H21": 'at=error code=H21 desc="Backend connection refused"',
    "H22": 'at=error code=H22 desc="Connection limit reached"',
    "H23": 'at=error code=H23 desc="Endpoint misconfigured"',
    "H24": 'at=error code=H24 desc="Forced close"',
    "H25": 'at=error code=H25 desc="HTTP restriction: invalid content length"',
    "H26": 'at=error code=H26 desc="Request Error" cause="unsupported expect header value"',
    "H27": 'sock=client at=warning code=H27 desc="Client Request Interrupted"',
    "H28": 'at=warning code=H28 desc="Client Connection Idle"',
    "H31": 'error code=H31 desc="Misdirected Request"',
    "H32": 'at=error code=H32 desc="TLS Certificate Mismatch"',
    "H33": 'at=error code=H33 desc="HTTP/2 Stream Broken"',
    "H34": 'at=error code=H34 desc="All up dynos are quarantined"',
    "H80": 'at=info code=H80 desc="Maintenance mode"',
    "H81": 'at=info code=H81 desc="Blank app"',
    "H82": 'at=info code=H82 desc="Free dyno quota exhausted"',
    "H83": 'at=info code=H83 desc="Planned Service Degradation"',
    "H99": 'at=error code=H99 desc="Platform error"',
    "blank-app": 'at=info code=blank-app desc="Blank app"',
}
# (tail, status, connect, service, bytes); codes not listed here have NO_DYNO
TAILS: dict[str, tuple[str, int, int | None, int | None, int | None]] = {
    "H12": ("dyno=web.1 connect=6ms service=30001ms status=503 bytes=0", 503, 6, 30_001, 0),
    "H13": (
        "dyno=web.1 connect=3030ms service=9767ms status=503 bytes=567",
        503,
        3_030,
        9_767,
        567,
    ),
    "H15": ("dyno=web.1 connect=1ms service=55449ms status=503 bytes=18", 503, 1, 55_449, 18),
    "H17": ("dyno=web.1 connect=1ms service=1ms status=503 bytes=0", 503, 1, 1, 0),
    "H18": ("dyno=web.1 connect=1ms service=1ms status=503 bytes=0", 503, 1, 1, 0),
    "H19": ("dyno=web.1 connect=5001ms service= status=503 bytes=", 503, 5_001, None, None),
    "H21": ("dyno=web.1 connect=1ms service= status=503 bytes=", 503, 1, None, None),
    "H24": ("dyno=web.1 connect=1ms service=80000ms status= bytes=18", 0, 1, 80_000, 18),
    "H25": ("dyno=web.1 connect=0 service=1 status=502 bytes=537", 502, 0, 1, 537),
    "H26": ("dyno=web.1 connect=1 service=0 status=400 bytes=537", 400, 1, 0, 537),
    "H27": ("dyno=web.1 connect=1ms service=0ms status=499 bytes=0", 499, 1, 0, 0),
    "H28": ("dyno=web.1 connect=1ms service=55449ms status=499 bytes=18", 499, 1, 55_449, 18),
}
CLIENT = f'method=POST path="/{FORGED}" host=shop.example.com fwd="192.0.2.1"'


@pytest.mark.parametrize("code", HEADS.keys() - {"H31"})
def test_a_line_with_an_error_code(code: str) -> None:
    if code in TAILS:
        tail, status, *times_and_bytes = TAILS[code]
        expected = Request("web.1", status, code, *times_and_bytes)
    else:
        tail, expected = NO_DYNO, Request("web.", 503, code, None, None, None)
    for protocol in ("", " protocol=https", " protocol=http2.0 tls=true tls_version=tls1.3"):
        assert read(f"{HEADS[code]} {CLIENT} {tail}{protocol}") == expected


@pytest.mark.parametrize(
    "tail",
    [
        "dyno= connect=0ms service=0ms status=503 bytes=596",
        "dyno= connect=0 service=0 status=503 bytes=596",
        "dyno= connect=1ms service=7ms status=503 bytes=596",
        'dyno="" connect="0ms" service="0ms" status="503" bytes="596"',
        'dyno="" connect=0ms service=0ms status=503 bytes=596',
        "dyno= status=503 bytes=596 service=0ms connect=0ms",
        "status=503 connect=0ms service=0ms bytes=596 dyno=",
    ],
)
@pytest.mark.parametrize("code", ["H10", "H14", "H34", "H80", "H99"])
def test_a_request_that_reached_no_dyno_has_no_times_however_they_are_written(
    code: str, tail: str
) -> None:
    for protocol in ("", " protocol=http2.0 tls=true tls_version=tls1.3"):
        line = f'{HEADS[code]} method=GET path="/up" {tail}{protocol}'
        assert read(line) == Request("web.", 503, code, None, None, 596)


def test_times_stay_where_a_line_says_nothing_about_the_dyno() -> None:
    line = 'at=info method=GET path="/" connect=1ms service=18ms status=200 bytes=512'
    assert read(line) == Request("web.", 200, "", 1, 18, 512)


@pytest.mark.parametrize("agent", ["curl/8.0", FORGED, ""])
def test_h31_gives_only_its_fixed_values_because_its_line_ends_with_client_text(agent: str) -> None:
    line = (
        f"{HEADS['H31']} {CLIENT} dyno= connect= service= status=421 bytes= protocol=http "
        f'agent="{agent}"'
    )
    assert read(line) == Request("web.", 421, "H31", None, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/a b/c?d=e f"},
        {"path": FORGED},
        {"path": "/x code=H99 y"},
        {"path": '/" dyno=evil.9 connect= service= status=503 bytes='},
        {"path": "/line\nbreak"},
        {"path": "/日本語/\ufffd"},
        {"fwd": f'"{FORGED}"'},
        {"fwd": '""'},
        {"fwd": "192.0.2.1 dyno=evil.9 connect=7ms service=7ms status=500 bytes=7"},
        {"fwd": '"192.0.2.1, 198.51.100.7"'},
        {"more": " protocol=https new_field=1 another=x"},
        {"more": ' protocol=https said="a b"'},
        {"more": ""},
    ],
)
def test_text_from_a_client_changes_nothing(fields: dict[str, str]) -> None:
    assert read(router_text(**fields)) == Request("web.1", 200, "", 1, 18, 512)


@pytest.mark.parametrize(
    "line",
    [
        'at=info method=GET path="/" host=h request_id=r fwd="f" status=200 bytes=512 '
        "service=18ms connect=1ms dyno=web.1 protocol=https",
        'at=info new=1 method=GET path="/" host=h fwd="f" dyno=web.1 queue=3ms connect=1ms '
        "wait=2 service=18ms status=200 bytes=512",
        'at=info status=200 service=18ms method=GET path="/" host=h dyno=web.1 connect=1ms '
        "bytes=512 fwd=f",
        'at=info method=GET path="/" fwd="f" dyno="web.1" connect="1ms" service="18ms" '
        'status="200" bytes="512"',
        'tls=true at=info method=GET path="/" dyno=web.1 connect=1 service=18 status=200 '
        "bytes=512 protocol=http1.1",
    ],
)
def test_fields_may_come_in_any_order_with_unknown_ones_among_them(line: str) -> None:
    assert read(line) == Request("web.1", 200, "", 1, 18, 512)


def test_a_code_that_cannot_be_a_label_becomes_other() -> None:
    line = router_text(head=f"at=error code={'H' * 40}", status="503")
    assert read(line).code == "other"


def test_a_code_may_stand_at_the_end_of_a_line_without_client_fields() -> None:
    assert read("dyno=web.1 status=503 bytes=0 at=error code=H13").code == "H13"


def test_a_service_time_of_15_minutes_is_read() -> None:
    assert read(router_text(service="900000ms", status="101")).service_ms == 900_000


@pytest.mark.parametrize(
    "line",
    [
        "",
        "at=info",
        "at=info method=GET path=/ dyno=web.1 connect=1ms service=1",
        router_text(status="abc"),
        router_text(status="99"),
        router_text(status="600"),
        router_text(status="+200"),
        router_text(service="-5ms"),
        router_text(service="18s"),
        router_text(connect="1_0ms"),
        router_text(connect="ms"),
        router_text(size="abc"),
        router_text(size="-1"),
        router_text(service="9" * 11 + "ms"),
    ],
)
def test_a_line_with_an_unreadable_value_is_an_error(line: str) -> None:
    with pytest.raises(ParseError) as error:
        parse(line.encode())
    assert error.value.reason == "router"


@pytest.mark.parametrize(
    "junk", ["\\n", "\\r\\n", ",", "]", "'", "\x1b[0m", "\x00", "e3", "0" * 15]
)
@pytest.mark.parametrize("end", ["", "\n", " ", ' protocol=https"'])
def test_junk_behind_the_number_of_bytes_leaves_only_that_number_unknown(
    junk: str, end: str
) -> None:
    text = "dyno=web.1 connect=1ms service=18ms status=200 bytes=828"
    request = parse(f"at=info method=GET path=/ {text}{junk}{end}".encode())
    assert request == Request("web.1", 200, "", 1, 18, None)


def test_a_quote_behind_the_number_of_bytes_is_no_part_of_it() -> None:
    text = 'at=info method=GET path=/ dyno=web.1 connect=1ms service=18ms status=200 bytes=828"'
    assert parse(text.encode()) == Request("web.1", 200, "", 1, 18, 828)


@pytest.mark.parametrize("dyno", ["we+b.1", "web.1.2", "web.", "w" * 129, "web.1;x"])
def test_a_name_that_is_not_a_dyno_is_an_error(dyno: str) -> None:
    with pytest.raises(ParseError) as error:
        parse(router_text(dyno=dyno).encode())
    assert error.value.reason == "dyno"


def test_a_line_cut_anywhere_never_gives_a_wrong_number() -> None:
    line = router_text(service="12345ms", size="67890")
    request = parse(line.encode())
    for end in range(len(line)):
        try:
            cut_request = parse(line[:end].encode())
        except ParseError:
            continue
        assert (cut_request.source, cut_request.status, cut_request.service_ms) == (
            "web.1",
            200,
            request.service_ms,
        )


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_parse_errors(data: bytes) -> None:
    for text in (data, b"at=info method=GET " + data, data + router_text().encode()):
        try:
            parse(text)
        except ParseError as error:
            assert error.reason in ("router", "dyno")
