"""The compiled aggregator agrees with the Python one on every body."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest import aggregator as ingest
from app.ingest.aggregator import AcceptanceWindow
from app.rollup.rollup import CardinalityLimits
from app.traffic.simulated_app import SimulatedApp
from fuzz.targets import CORPUS
from tests.support.forms import (
    ACCEPTANCE,
    ARRIVED_S,
    TINY,
    aggregate_compiled,
    aggregate_in_python,
    assert_same_aggregation,
    compiled_aggregator,
)
from tests.support.lines import counted, router, router_text, timestamp

LOGS = Path(__file__).parents[2] / "logs"
FUZZED = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def simulated(name: str, start_s: float, lines: int) -> list[bytes]:
    app = SimulatedApp(name, dynos=6, lines_per_s=20, seed=hash(name) % 1000)
    frames: Iterator[bytes] = (line.frame for line in app.lines(start_s))
    return [next(frames) for _ in range(lines)]


@pytest.mark.parametrize("name", ["shop", "blog", "api", "jobs"])
def test_common_lines_of_an_app(name: str) -> None:
    frames = simulated(name, ARRIVED_S - 200, 4_000)
    body = assert_same_aggregation(b"".join(frames), ARRIVED_S)
    assert body.received == len(frames)


@pytest.mark.parametrize(
    "acceptance",
    [
        AcceptanceWindow(60, 5),
        AcceptanceWindow(0, 0),
        AcceptanceWindow(40, 10),
        AcceptanceWindow(7 * 86_400, 86_400),
    ],
)
def test_lines_at_the_edges_of_the_acceptance_window(acceptance: AcceptanceWindow) -> None:
    frames = simulated("shop", ARRIVED_S - 120, 3_000)
    for shift_s in (0.0, 0.5, 29.999, 61.0):
        assert_same_aggregation(b"".join(frames), ARRIVED_S + shift_s, acceptance)


@pytest.mark.parametrize("reads_marks", [False, True])
@pytest.mark.parametrize("name", ["addons", "custom", "hostile"])
def test_lines_with_metrics_of_any_name(name: str, reads_marks: bool) -> None:
    body = (LOGS / f"{name}.log").read_bytes()
    assert_same_aggregation(body, reads_marks=reads_marks)
    assert_same_aggregation(body, limits=TINY, reads_marks=reads_marks)


API_LINES = (
    "Build started by user dev@example.com",
    "Deploy 6c63c6a0 by user dev@example.com",
    "Release v41 created by user dev@example.com",
    "Release v40 created by user dev@example.com",
    "Rollback to v39 by user dev@example.com",
    "Scaled to web@4:Standard-1X worker@1:Basic by user dev@example.com",
    "Set LANG, RACK_ENV config vars by user dev@example.com",
    "Starting process with command `rake tidy` by user dev@example.com",
    '[meta sequenceId="1"] Release v99 created by user dev@example.com',
    "v7",
    "R",
    "",
    "\xef\xbb\xbfRelease v98 created by user dev@example.com",
    "\xc9pingl\xe9",
)


@pytest.mark.parametrize("end", ["\n", "", " \n"])
@pytest.mark.parametrize("procid", ["api", "apis", "web.1"])
def test_lines_of_the_heroku_api(procid: str, end: str) -> None:
    frames = [line(text, app_name="app", procid=procid, end=end) for text in API_LINES]
    for order in (frames, frames[::-1], *([frame] for frame in frames)):
        assert_same_aggregation(b"".join(order))
    assert_same_aggregation(b"".join(frames), limits=TINY)
    [rollup] = assert_same_aggregation(b"".join(frames)).rollups.values()
    assert not isinstance(rollup, bytes)
    assert (rollup.last_release[1] == "v99") == (procid == "api")


def test_more_names_than_the_cache_of_sources_holds() -> None:
    text = "Error R14 (Memory quota exceeded)"
    frames = [line(text, procid=f"web.{number % 3_000}") for number in range(6_000)]
    assert_same_aggregation(b"".join(frames), limits=CardinalityLimits(dynos=5_000))


def test_every_status_of_one_dyno() -> None:
    frames = [router(ARRIVED_S, status=str(status)) for status in range(100, 600)]
    body = assert_same_aggregation(b"".join(2 * frames), limits=CardinalityLimits(statuses=500))
    assert body.received == 1_000


BETWEEN = st.builds(
    lambda *fields: (" ".join(("", *fields, ""))).encode(),
    st.sampled_from(["host", "h", "h" * 110, "h" * 111, "h" * 300, "router", ""]),
    st.sampled_from(["heroku", "heroku", "app", "herok"]),
    st.sampled_from(["router", "router", "web.1", "route"]),
    st.sampled_from(["-", "-", "-x", "router", ""]),
)


@given(st.lists(st.tuples(BETWEEN, st.integers(0, 70), st.booleans()), max_size=12))
def test_headers_between_router_lines(
    headers: list[tuple[bytes, int, bool]],
) -> None:
    """Repeated, longer and shorter headers, and headers without a text."""
    text = router_text().encode() + b"\n"
    frames = [
        counted(
            f"<158>1 {timestamp(ARRIVED_S - age_s)}".encode()
            + between
            + (text if has_text else b"")
        )
        for between, age_s, has_text in headers
    ]
    assert_same_aggregation(
        b"".join(part for frame in frames for part in (frame, router(ARRIVED_S)))
    )


def test_names_that_are_not_text() -> None:
    assert_same_aggregation(line("Cycling", procid="web.\xff"))


def test_a_start_outside_the_body_is_an_error() -> None:
    aggregator = compiled_aggregator.Aggregator(ARRIVED_S, ACCEPTANCE, CardinalityLimits())
    for start in (-1, 5):
        with pytest.raises(ValueError, match=str(start)):
            next(aggregator.add_body_in_steps(b"four", start))
        with pytest.raises(ValueError, match=str(start)):
            aggregator.add_body(b"four", start)


def test_more_lines_than_a_step_and_more_names_than_a_rollup() -> None:
    text = (
        "at=info method=GET path=/ dyno={} connect=1ms service=2ms status=200 bytes=3 protocol=http"
    )
    frames = [line(text.format(f"web.{number}")) for number in range(60_000)]
    limits = CardinalityLimits(dynos=50)
    plain = aggregate_in_python(b"".join(frames), ARRIVED_S, ACCEPTANCE, limits)
    aggregator = aggregate_compiled(b"".join(frames), ARRIVED_S, ACCEPTANCE, limits)
    assert aggregator.pack() == plain.pack()


@pytest.mark.parametrize("path", [*sorted(LOGS.glob("*.log")), *FUZZED], ids=lambda path: path.name)
def test_every_recorded_or_fuzzed_input_as_body_and_as_message(path: Path) -> None:
    data = path.read_bytes()
    assert_same_aggregation(data)
    for piece in (data, *data.splitlines()[:200]):
        assert_same_aggregation(counted(piece + b"\n"))
        assert_same_aggregation(line(piece.decode("latin-1")))


def line(
    text: str,
    *,
    pri: str = "<158>1",
    at: str = timestamp(ARRIVED_S - 1.25),
    app_name: str = "heroku",
    procid: str = "router",
    msgid: str = "-",
    end: str = "\n",
) -> bytes:
    head = f"{pri} {at} host {app_name} {procid} {msgid} "
    return counted((head + text + end).encode("latin-1"))


STATUSES = ["200", "101", "404", "503", "599", "600", "099", "99", "", "0200"]
NUMBERS = [
    "",
    "0",
    "1",
    "18",
    "00018",
    "1234567890",
    "12345678901",
    "+5",
    "-5",
    "1_0",
    "65536",
    "x",
]
UNITS = ["ms", "", "s", "msms", "ms ms"]
DYNOS = ["web.1", "web.12", "", "run.1234", "scheduler.9", "a b", "web.1\x00", "Web-2_x.7", "web."]
DYNOS += [
    "évil.1",
    "x" * 63 + ".1",
    "x" * 64 + ".1",
    "web.1234567890",
    "release.2",
    ".1",
    "web.1.2",
    '""',
    '"web.1"',
    'web".1',
]
TIMES = [
    timestamp(ARRIVED_S - 1),
    timestamp(ARRIVED_S - 61.25),
    "2026-11-22T10:00:29.123456789+00:00",
    "2026-11-22T10:00:29.1234567890+00:00",
    "2026-11-22T10:00:29.1+00:00",
    "2026-11-22T10:00:29.+00:00",
    "2026-11-22T10:00:29+00:00",
    "2026-11-22T10:00:29.123Z",
    "2026-11-22T10:00:29Z",
    "2026-11-22T04:30:29-05:30",
    "2026-11-22T04:30:29.5-24:30",
    "2026-11-22T10:00:29z",
    "2024-02-29T10:00:29Z",
    "2026-02-29T10:00:29Z",
    "2026-13-01T10:00:29Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T11:00:29.123+01:00",
    "2026-11-22T10:00:60.123+00:00",
    "2026-11-22T10:00:61.123+00:00",
    "2026-11-22T10:0a:29.123+00:00",
    "2026-11-31T10:00:29.123+00:00",
    "0001-01-01T00:00:00.123+00:00",
    "1969-12-31T23:59:59.999+00:00",
    "9999-12-31T23:59:59.999+00:00",
    "2026-11-22T10:00:29.12x+00:00",
    "2026-11-22 10:00:29.123+00:00",
    "-",
]
HEADS = [
    "at=info method=GET",
    "at=info code=H80 method=GET",
    'at=error code=H12 desc="Request timeout" method=GET',
    'sock=backend at=error code=H18 desc="x" method=GET',
    "sock=client at=warning code=H27 method=GET",
    "sock=Client at=warning code=H27 method=GET",
    "at=warning method=GET",
    "at=error code= desc=x method=GET",
    "at=error code=H31 desc=x method=GET",
    "at=error code=" + "H" * 17 + " method=GET",
    "at=error code=H1\t2 method=GET",
    "at=error code=H_1 method=GET",
    "at=error path=/ code=H12",
    "at=" + "x" * 33 + " code=H12 method=GET",
    "at= code=H12 method=GET",
    "code=H12 at=error method=GET",
    "AT=info method=GET",
    "at=info  method=GET",
]
RESTS = [" protocol=https", "", " protocol=https tls=true", ' agent="x"', "x", "\tx", " dyno=web.9"]
PATHS = ['path="/"', 'path="/x dyno=evil.1 connect=1ms service=1ms status=500 bytes=1"', "path=/ é"]


@st.composite
def router_lines(draw: st.DrawFn) -> bytes:
    def ms() -> str:
        return draw(st.sampled_from(NUMBERS)) + draw(st.sampled_from(UNITS))

    fields = [
        f"dyno={draw(st.sampled_from(DYNOS))}",
        f"connect={ms()}",
        f"service={ms()}",
        f"status={draw(st.sampled_from(STATUSES))}",
        f"bytes={draw(st.sampled_from([*NUMBERS, '9' * 15, '9' * 16]))}",
    ]
    if draw(st.integers(0, 9)) == 0:
        fields = draw(st.permutations(fields))
    head, path = draw(st.sampled_from(HEADS)), draw(st.sampled_from(PATHS))
    rest = draw(st.sampled_from(RESTS))
    return line(f"{head} {path} host=h fwd=x {' '.join(fields)}{rest}", **draw(headers("router")))


def headers(procid: str) -> st.SearchStrategy[dict[str, str]]:
    """Mostly the common header, sometimes with one uncommon field."""
    common = st.just({"procid": procid})
    uncommon = st.fixed_dictionaries(
        {
            "procid": st.sampled_from([procid, *DYNOS]),
            "pri": st.sampled_from(
                ["<0>1", "<45>1", "<0045>1", "<>1", "<45>2", "45>1", "<4a>1", ""]
            ),
            "at": st.sampled_from(TIMES),
            "app_name": st.sampled_from(["heroku", "app", "", "herokuu", "Heroku"]),
            "msgid": st.sampled_from(["-", "", "x"]),
            "end": st.sampled_from(["\n", "", " \n", "\r\n"]),
        }
    )
    one = uncommon.flatmap(lambda every: st.sampled_from(sorted(every.items()))).map(
        lambda item: {"procid": procid, item[0]: item[1]}
    )
    return common | one | uncommon


MEMORY = ["total", "rss", "cache", "swap", "pgpgin", "pgpgout", "quota"]
VALUES = [
    "21.00MB",
    "0.00MB",
    "21.0MB",
    "21MB",
    "512.00MB",
    "123456789.00MB",
    "1234567890.00MB",
    "MB",
]
VALUES += ["348836pages", "9" * 15 + "pages", "9" * 16 + "pages", "-1pages", "21.00kB", "", "1.234"]


@st.composite
def runtime_lines(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        names = [f"load_avg_{minutes}m" for minutes in (1, 5, 15)]
        values = {name: draw(st.sampled_from(["0.00", "2.46", "12345.67"])) for name in names}
    else:
        names = [f"memory_{name}" for name in MEMORY]
        values = {
            name: f"{draw(st.integers(0, 10**9))}pages"
            if "pgp" in name
            else f"{draw(st.integers(0, 10**6))}.{draw(st.integers(0, 99)):02d}MB"
            for name in names
        }
        if draw(st.booleans()):
            names = names[:-1]
    if draw(st.integers(0, 3)) == 0:
        values[draw(st.sampled_from(names))] = draw(st.sampled_from(VALUES))
        names = draw(st.sampled_from([names, names[::-1], names * 2, names[1:]]))
    samples = " ".join(f"sample#{name}={values[name]}" for name in names)
    end = draw(st.sampled_from(["", " ", "\t", " x=1", " sample#other=1"]))
    source = draw(st.sampled_from(["web.1", "web.1", "", "a b"]))
    return line(f"source={source} dyno=heroku.1 {samples}{end}", **draw(headers("web.1")))


dyno_lines = st.builds(
    lambda text, header: line(text, **header),
    st.sampled_from(
        [
            "Error R14 (Memory quota exceeded)",
            "Error R1 (x)",
            "Error R1234",
            "Error R14x",
            "Error R14",
            "Error L10 (output buffer overflow): 2 messages dropped since 2026",
            "State changed from starting to up",
            "State changed from up to starting",
            "State changed from up to crashed",
            "State changed from up to startingx",
            "State changed from up to down  ",
            "State changed from up to down x",
            'State changed from starting to up"',
            "State changed from starting to crashed      ern-fina",
            "State changed from starting to ",
            "Error R10 (Boot timeout)",
            "Error R12 (Exit timeout)",
            "Error R15 (Memory quota vastly exceeded)",
            "Process exited with status 1   x",
            'Process exited with status 1"',
            "Process exited with status 1x",
            "Process exited with status 256",
            "State changed from " + "u" * 33 + " to down",
            "State changed ",
            "Process exited with status 137",
            "Process running mem=585M(114.3%)",
            "Cycling",
            "Cycling at night is not this event",
            "Idling",
            "Starting process with command `bin/x`",
            "- Error R14 (Memory quota exceeded)",
            '[a b="c"] Error R14 (Memory quota exceeded)',
            "Release v212 created by user x",
            "source=web.1 sample#load_avg_1m=1.00",
            "",
            "x",
        ]
    ),
    st.sampled_from(["web.1", "run.12", "logplex", "api", "web.x y"]).flatmap(headers),
)
lines = router_lines() | runtime_lines() | dyno_lines


@given(st.lists(lines, max_size=12), st.sampled_from([TINY, CardinalityLimits()]))
def test_lines_with_any_odd_fields(frames: list[bytes], limits: CardinalityLimits) -> None:
    assert_same_aggregation(b"".join(frames), limits=limits)


@given(st.lists(lines, min_size=1, max_size=6), st.integers(0, 2**32))
def test_bodies_with_damaged_bytes(frames: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    body = bytearray(b"".join(frames))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body))
        change = rng.randrange(3)
        if change == 0:
            body[at] = rng.choice(b'\x00 \n"<>=0123456789ms.\xff')
        elif change == 1:
            del body[at : at + rng.randrange(1, 4)]
            body = body or bytearray(b"x")
        else:
            body[at:at] = bytes(rng.choices(b' \n"=0129a\x00', k=rng.randrange(1, 4)))
    assert_same_aggregation(bytes(body))


FRAME_PIECES = [
    *(b"<1>1 ", b"<134>1 ", b"1 <1>1 ", b"6 <1>1 x", b"7 <1>1 x\n", b"8 <1>1 ab\n", b"\n9 <1>1 "),
    *(b"12 <1>1 abcdef\n", b"12 <1>1 abcdefg", b"5 ab\ncd", b"<1>1 x\n<1>1 y\n", b"3 abc"),
    *(b"1", b"2", b"0", b"15", b"00", b"1234567", b"9999999 ", b"10000000 ", b"+", b"-", b"a"),
    *(b" ", b"\n", b"\r", b"\t", b"<", b">", b" " * 70, b"\n" * 70, b"x" * 30),
    line("Error R14 (Memory quota exceeded)", procid="web.1"),
    line(
        "Error L10 (output buffer overflow): 2 messages dropped since x", procid="logplex", end=""
    ),
]


@given(st.lists(st.sampled_from(FRAME_PIECES), max_size=20))
def test_bodies_of_frames_and_pieces_of_frames(pieces: list[bytes]) -> None:
    assert_same_aggregation(b"".join(pieces))


def test_damage_longer_than_a_step() -> None:
    damage = b"1 <1>1 \n" * 20_000 + b"x" * 100_000
    assert_same_aggregation(line("Cycling", procid="web.1") + damage + line("Idling", procid="w.1"))


def test_bodies_in_turns_give_the_same_as_one_after_the_other() -> None:
    bodies = [b"".join(simulated(name, ARRIVED_S - 100, 1_200)) for name in ("shop", "jobs")]
    aggregator = compiled_aggregator.Aggregator(ARRIVED_S, ACCEPTANCE)
    for _ in zip_longest(*(aggregator.add_body_in_steps(body) for body in bodies)):
        continue
    expected = ingest.Aggregator(ARRIVED_S, ACCEPTANCE)
    for body in bodies:
        expected.add_body(body)
    assert aggregator.pack() == expected.pack()


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    assert_same_aggregation(body)
