"""Frames are found by their counts, whatever stands in them and however they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.framing import COUNT_MAX, Damage, FrameReader, split
from tests.support.lines import app_line, counted, lost, message, router

LINE = message("at=info", procid="router")
FRAME = counted(LINE)
NO_NEWLINE = message("Error L10", procid="logplex", newline=False)


def fed(body: bytes, size: int) -> list[bytes | Damage]:
    reader = FrameReader(COUNT_MAX)
    found = [
        item
        for start in range(0, len(body), size)
        for item in reader.feed(body[start : start + size])
    ]
    return found + reader.end()


def read(body: bytes) -> list[bytes | Damage]:
    """What is found; the same whole, byte by byte, in pieces."""
    whole = list(split(body))
    assert whole == fed(body, 1) == fed(body, 7) == fed(body, 100)
    return whole


CASES: dict[str, tuple[bytes, list[bytes | Damage]]] = {
    "nothing": (b"", []),
    "one frame": (FRAME, [LINE]),
    "frames without anything between them": (FRAME * 3, [LINE] * 3),
    "a frame without a newline, before another": (
        counted(NO_NEWLINE) + FRAME,
        [NO_NEWLINE, LINE],
    ),
    "a frame without a newline, at the end": (FRAME + counted(NO_NEWLINE), [LINE, NO_NEWLINE]),
    "a frame without a newline, before a damaged one": (
        counted(NO_NEWLINE) + LINE + FRAME,
        [NO_NEWLINE, Damage(len(LINE)), LINE],
    ),
    "a count that is too large": (
        FRAME + b"%d " % (len(LINE) + 9) + LINE + FRAME,
        [LINE, Damage(len(FRAME)), LINE],
    ),
    "a count that is too small": (
        FRAME + b"%d " % (len(LINE) - 9) + LINE + FRAME,
        [LINE, Damage(len(FRAME)), LINE],
    ),
    "a count beyond the end": (
        FRAME + b"9999999 " + LINE + FRAME,
        [LINE, Damage(8 + len(LINE)), LINE],
    ),
    "a count of 20 digits": (
        b"99999999999999999999 " + LINE + FRAME,
        [Damage(21 + len(LINE)), LINE],
    ),
    "no count": (FRAME + LINE + FRAME, [LINE, Damage(len(LINE)), LINE]),
    "a count of zero": (b"0 " + FRAME, [Damage(2), LINE]),
    "a positive sign": (b"+" + FRAME, [Damage(1), LINE]),
    "a negative sign": (b"-5 " + FRAME, [Damage(3), LINE]),
    "an underscore in the count": (b"1_0 " + FRAME, [Damage(4), LINE]),
    "a body that ends early": (FRAME + FRAME[:-20], [LINE, Damage(len(FRAME) - 20)]),
    "two damaged stretches": (
        LINE + FRAME + b"\x00\xff" + FRAME,
        [Damage(len(LINE)), LINE, Damage(2), LINE],
    ),
    "binary": (bytes(range(256)), [Damage(256)]),
    "tiny frames of junk": (b"1 x" * 5, [b"x"] * 5),
    "binary in a frame": (counted(b"\x00\xff\n") + FRAME, [b"\x00\xff\n", LINE]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_body_gives_its_frames_and_its_damage(name: str) -> None:
    body, expected = CASES[name]
    assert read(body) == expected


@pytest.mark.parametrize("name", CASES)
def test_what_follows_a_body_does_not_change_it(name: str) -> None:
    body, expected = CASES[name]
    following = read(body + FRAME)
    if expected and isinstance(expected[-1], Damage):
        assert following[: len(expected) - 1] == expected[:-1]
        assert following[-1] == LINE
    else:
        assert following == [*expected, LINE]


@pytest.mark.parametrize("off", [n for n in range(-len(LINE) + 1, 40) if n])
def test_a_count_that_is_off_costs_its_own_frame_and_no_other(off: int) -> None:
    """Also when the frame after it holds whole frames in its text."""
    printed = app_line(b"x " + FRAME * 3)
    body = FRAME + b"%d " % (len(LINE) + off) + LINE + printed + FRAME
    damage = len(b"%d " % (len(LINE) + off) + LINE)
    assert read(body) == [LINE, Damage(damage), printed.partition(b" ")[2], LINE]


def test_a_message_without_a_newline_may_end_in_a_digit() -> None:
    ends_in_digit = message("x" * 10_000 + "7", app_name="app", newline=False)
    assert read(counted(ends_in_digit) + FRAME) == [ends_in_digit, LINE]


def test_a_body_may_end_in_a_count() -> None:
    assert read(FRAME + b"28") == [LINE, Damage(2)]


def test_whole_frames_written_inside_a_message_are_not_found() -> None:
    forged = FRAME + FRAME.rstrip(b"\n") + b"\n" + FRAME
    printed = app_line(b"hello " + forged)
    [inside] = read(printed)
    assert inside == printed.partition(b" ")[2]


def test_a_count_may_cut_a_character_in_half() -> None:
    cut = "naïve".encode()[:3]
    body = counted(cut + b"\n") + FRAME
    assert read(body) == [cut + b"\n", LINE]


def test_a_frame_of_100_000_bytes_is_a_frame() -> None:
    long = app_line("x" * 100_000)
    assert read(long + FRAME) == [long.partition(b" ")[2], LINE]


def test_a_reader_takes_a_count_over_its_limit_for_a_wrong_one() -> None:
    reader = FrameReader(frame_bytes_max=1_000)
    found = reader.feed(app_line("x" * 2_000) + FRAME) + reader.end()
    assert found == [Damage(len(app_line("x" * 2_000))), LINE]


def test_a_reader_gives_a_frame_with_a_newline_at_once() -> None:
    reader = FrameReader()
    assert reader.feed(FRAME) == [LINE]


def test_a_reader_holds_no_more_than_one_frame_of_endless_junk() -> None:
    reader = FrameReader(frame_bytes_max=1_000)
    for _ in range(1_000):
        reader.feed(b"\xff" * 1_000)
    assert len(reader._data) < 2_000
    assert reader.feed(FRAME) == [Damage(1_000_000), LINE]


def test_a_million_tiny_frames_are_a_million_frames() -> None:
    assert sum(1 for _ in split(b"1 x" * 1_000_000)) == 1_000_000


pieces = st.one_of(
    st.sampled_from(
        [
            FRAME,
            counted(NO_NEWLINE),
            router(),
            lost(3),
            LINE,
            FRAME[:-7],
            app_line(FRAME + FRAME),
            b"%d " % (len(LINE) + 3) + LINE,
            b"%d " % (len(LINE) - 3) + LINE,
            b"1 x",
            b"99999999 ",
            b"12 <1>1 ",
        ]
    ),
    st.binary(max_size=40),
)


@given(st.lists(pieces, max_size=8), st.data())
def test_any_split_of_any_bytes_gives_the_same(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(parts)
    reader = FrameReader(COUNT_MAX)
    found: list[bytes | Damage] = []
    rest = body
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += reader.feed(rest[:size])
        rest = rest[size:]
    assert found + reader.end() == list(split(body))


@given(st.lists(pieces, max_size=8))
def test_no_byte_is_lost_or_invented(parts: list[bytes]) -> None:
    body = b"".join(parts)
    size = 0
    for item in split(body):
        size += item.size if isinstance(item, Damage) else len(counted(item))
    assert size == len(body)
