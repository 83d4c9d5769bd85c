"""Frames are found by their counts, for any content and in pieces of any size."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.framing import COUNT_MAX, Damage, FrameReader, split, split_in_steps
from tests.support.lines import app_line, counted, lost, message, router

LINE = message("at=info", procid="router")
FRAME = counted(LINE)
NO_NEWLINE = message("Error L10", procid="logplex", newline=False)


def read_in_pieces(body: bytes, size: int) -> list[bytes | Damage]:
    reader = FrameReader(COUNT_MAX)
    items = [
        item
        for start in range(0, len(body), size)
        for item in reader.feed(body[start : start + size])
    ]
    return items + reader.end()


def read(body: bytes) -> list[bytes | Damage]:
    """The items of a body, the same at once, byte by byte and in larger pieces."""
    items = list(split(body))
    assert items == read_in_pieces(body, 1) == read_in_pieces(body, 7) == read_in_pieces(body, 100)
    return items


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
        [NO_NEWLINE, LINE, LINE],
    ),
    "a count that is too large": (
        FRAME + b"%d " % (len(LINE) + 9) + LINE + FRAME,
        [LINE, LINE, LINE],
    ),
    "a count that is too small": (
        FRAME + b"%d " % (len(LINE) - 9) + LINE + FRAME,
        [LINE, LINE, LINE],
    ),
    "a count beyond the end": (
        FRAME + b"9999999 " + LINE + FRAME,
        [LINE, LINE, LINE],
    ),
    "a count of 20 digits": (
        b"99999999999999999999 " + LINE + FRAME,
        [LINE, LINE],
    ),
    "a count of 21 digits": (
        b"999999999999999999999 " + LINE + FRAME,
        [Damage(22 + len(LINE)), LINE],
    ),
    "no count": (FRAME + LINE + FRAME, [LINE, LINE, LINE]),
    "no counts at all": (LINE * 3, [LINE] * 3),
    "a wrong count before the end": (b"%d " % (len(LINE) + 9) + LINE, [LINE]),
    "a wrong count without a newline": (
        b"%d " % (len(NO_NEWLINE) + 9) + NO_NEWLINE + FRAME,
        [Damage(len(counted(NO_NEWLINE))), LINE],
    ),
    "a wrong count in a message of two lines": (
        b"%d " % (len(LINE) - 9) + LINE[:-1] + b"\nmore\n" + FRAME,
        [Damage(len(FRAME) + len(b"more\n")), LINE],
    ),
    "wrong counts after damage": (
        b"junk\n" + (b"%d " % (len(LINE) + 9) + LINE) * 2 + FRAME,
        [Damage(5), LINE, LINE, LINE],
    ),
    "texts that became longer": (
        b"".join(counted(LINE).replace(b"info", b"warning") for _ in range(3)),
        [LINE.replace(b"info", b"warning")] * 3,
    ),
    "a last newline that is missing": (FRAME + FRAME[:-1], [LINE, LINE[:-1]]),
    "newlines that are all missing": (FRAME[:-1] * 3, [LINE[:-1]] * 3),
    "a newline that is missing in between": (FRAME[:-1] + FRAME * 2, [LINE[:-1], LINE, LINE]),
    "newlines that became two bytes": (
        FRAME.replace(b"\n", b"\r\n") * 3,
        [LINE.replace(b"\n", b"\r\n")] * 3,
    ),
    "blank lines between frames": (FRAME + b"\n" + FRAME + b"\r\n\r\n" + FRAME, [LINE] * 3),
    "a count of zero": (b"0 " + FRAME, [Damage(2), LINE]),
    "a positive sign": (b"+" + FRAME, [Damage(1), LINE]),
    "a negative sign": (b"-5 " + FRAME, [Damage(3), LINE]),
    "an underscore in the count": (b"1_0 " + FRAME, [Damage(4), LINE]),
    "a body that ends early": (FRAME + FRAME[:-20], [LINE, Damage(len(FRAME) - 20)]),
    "two damaged stretches": (
        b"junk" + FRAME + b"\x00\xff" + FRAME,
        [Damage(4), LINE, Damage(2), LINE],
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
def test_a_frame_after_a_body_does_not_change_how_the_body_is_read(name: str) -> None:
    body, expected = CASES[name]
    following = read(body + FRAME)
    if expected and isinstance(expected[-1], Damage):
        assert following[: len(expected) - 1] == expected[:-1]
        assert following[-1] == LINE
    else:
        assert following == [*expected, LINE]


OFF = [n for n in range(-len(LINE) + 1, 40) if n]


@pytest.mark.parametrize("off", OFF)
def test_a_count_that_is_off_costs_no_frame(off: int) -> None:
    """Even when the text of the next frame contains whole frames."""
    app_frame = app_line(b"x " + FRAME * 3)
    body = FRAME + b"%d " % (len(LINE) + off) + LINE + app_frame + FRAME
    assert read(body) == [LINE, LINE, app_frame.partition(b" ")[2], LINE]


IN_ONE_LINE = ["since 10:00+00:00.", "tls1.3", "http2.0", "1100", "2 x 42", "one 42 "]
ENDINGS = [*IN_ONE_LINE, "two\nlines", "two\n42", "two\n42 "]


@pytest.mark.parametrize("ending", IN_ONE_LINE)
@pytest.mark.parametrize("off", [n for n in OFF if n > -20])
def test_a_count_that_is_off_costs_one_frame_also_without_a_newline(ending: str, off: int) -> None:
    """Only its end decides, where digits may belong to the message or to the next count."""
    text = message(ending, newline=False)
    damaged_frame = b"%d " % (len(text) + off) + text
    for following in (LINE, NO_NEWLINE, message(ending, newline=False)):
        body = FRAME + damaged_frame + counted(following) + FRAME
        # One more than it has: as if its newline were lost.
        item = text if off == 1 else Damage(len(damaged_frame))
        assert read(body) == [LINE, item, following, LINE]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("after", [b"", FRAME, b"3 a\xffb", b"3 a\xffb1 x" + FRAME])
def test_a_message_with_a_right_count_may_end_in_anything(ending: str, after: bytes) -> None:
    for text in (message(ending, newline=False), message("x" * 10_000 + ending, newline=False)):
        assert read(counted(text) + after)[0] == text


@pytest.mark.parametrize("ending", IN_ONE_LINE)
def test_a_message_without_a_newline_is_kept_when_the_next_one_is_damaged(ending: str) -> None:
    text = message(ending, newline=False)
    damaged_frame = b"+9999 " + LINE
    assert read(counted(text) + damaged_frame + FRAME) == [text, Damage(len(damaged_frame)), LINE]
    for recovered_frame in (LINE, b"%d " % (len(LINE) + 9) + LINE):
        assert read(counted(text) + recovered_frame + FRAME) == [text, LINE, LINE]


def test_no_frame_begins_within_the_digits_of_a_rejected_count() -> None:
    damaged_frame = b"9" * 20 + FRAME
    assert read(damaged_frame + FRAME) == [Damage(len(damaged_frame)), LINE]
    for digits in (b"0", b"9999999"):
        assert read(digits + FRAME + FRAME) == [LINE, LINE]


def test_a_number_in_a_cut_message_is_not_a_count() -> None:
    """`512 ` leads nowhere, so the message does not end before it."""
    line = message("bytes=512 protocol=https", procid="router")
    cut_frame = b"%d " % (len(line) - len(b"512 protocol=https\n")) + line
    assert read(FRAME + cut_frame + FRAME * 8) == [LINE, line, *[LINE] * 8]


def test_a_body_may_end_in_a_count() -> None:
    assert read(FRAME + b"28") == [LINE, Damage(2)]


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.sampled_from([LINE, FRAME]))))
def test_a_body_whose_counts_are_right_is_read_exactly(messages: list[bytes]) -> None:
    assert read(b"".join(counted(text) for text in messages)) == messages


def test_whole_frames_written_inside_a_message_are_not_found() -> None:
    forged_frames = FRAME + FRAME.rstrip(b"\n") + b"\n" + FRAME
    app_frame = app_line(b"hello " + forged_frames)
    [item] = read(app_frame)
    assert item == app_frame.partition(b" ")[2]


def test_a_count_may_cut_a_character_in_half() -> None:
    cut = "naïve".encode()[:3]
    body = counted(cut + b"\n") + FRAME
    assert read(body) == [cut + b"\n", LINE]


def test_a_frame_of_100_000_bytes_is_a_frame() -> None:
    long = app_line("x" * 100_000)
    assert read(long + FRAME) == [long.partition(b" ")[2], LINE]


def test_a_reader_treats_a_count_over_its_limit_as_wrong() -> None:
    reader = FrameReader(frame_bytes_max=1_000)
    items = reader.feed(app_line("x" * 2_000) + FRAME) + reader.end()
    assert items == [Damage(len(app_line("x" * 2_000))), LINE]


def test_a_reader_returns_a_frame_with_a_newline_immediately() -> None:
    reader = FrameReader()
    assert reader.feed(FRAME) == [LINE]


def test_a_reader_does_not_wait_for_a_count_over_its_limit() -> None:
    """Even where the count decides whether the message before it is whole."""
    reader = FrameReader(frame_bytes_max=1_000)
    rest = b"2000 " + b"x" * 40
    assert reader.feed(counted(NO_NEWLINE) + rest + FRAME) == [
        Damage(len(counted(NO_NEWLINE)) + len(rest)),
        LINE,
    ]


def test_a_reader_buffers_at_most_one_frame_of_endless_junk() -> None:
    reader = FrameReader(frame_bytes_max=1_000)
    for _ in range(1_000):
        reader.feed(b"\xff" * 1_000)
    assert len(reader._data) < 2_000
    assert reader.feed(FRAME) == [Damage(1_000_000), LINE]


class CopyCountingBytes(bytes):
    """Bytes that count how many of them slices have copied."""

    copied_bytes = 0

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        if isinstance(item, bytes):
            self.copied_bytes += len(item)
        return item


@pytest.mark.parametrize(
    "unit",
    [
        b"x12 <1>1 aaaaaa\n",
        b"\0" * 9 + b"12 <1>1 aaaaaa\n",
        b"99999999 12 <1>1 aaaaaa\n",
        b"400000 <1>1 ",
        b"9 <1>1 ",
        b"6 <1>1 x<1>1 ",
        b"6 <1>1 x9 ",
        b"7 <1>1 x12345678901234567890<1>1 ",
        b"1 x",
        b"7",
        b" ",
        b"\n \t9 <1>1 ",
        b"\n" + b" " * 63 + b"9 <1>1 x",
    ],
)
def test_no_byte_is_copied_often(unit: bytes) -> None:
    """Otherwise a body with much damage would take time quadratic in its size."""
    body = CopyCountingBytes(unit * (20_000 // len(unit)))
    for _ in split(body):
        pass
    assert body.copied_bytes <= 4 * len(body)


def test_a_million_tiny_frames_are_a_million_frames() -> None:
    assert sum(1 for _ in split(b"1 x" * 1_000_000)) == 1_000_000


PIECES = st.one_of(
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
            FRAME[:-1],
            FRAME.replace(b"\n", b"\r\n"),
            b"\n",
            b"\n  \t",
            b" " * 30,
            b"<1>1 x\n",
        ]
    ),
    st.binary(max_size=40),
)


@given(st.lists(PIECES, max_size=8), st.data())
def test_any_split_of_any_bytes_gives_the_same(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(parts)
    reader = FrameReader(COUNT_MAX)
    items: list[bytes | Damage] = []
    rest = body
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        items += reader.feed(rest[:size])
        rest = rest[size:]
    assert items + reader.end() == list(split(body))


EDITED_LINE = LINE.replace(b"info", b"warning")
EDITED_FRAME = FRAME.replace(b"info", b"warning")  # its count is too small
BLANKS = [b"\n", b"\r\n", b"\n" * 9, b"    ", b"\t", b"\n  \t ", b" \r\n\r\n  ", b" " * 200]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    ("frame", "line"), [(FRAME, LINE), (EDITED_FRAME, EDITED_LINE), (LINE, LINE)]
)
def test_blanks_around_messages_are_nothing(blank: bytes, frame: bytes, line: bytes) -> None:
    assert read(blank + frame + blank + frame + blank) == [line, line]


@pytest.mark.parametrize("blank", BLANKS)
def test_a_message_of_several_lines_is_whole_after_blanks(blank: bytes) -> None:
    """Also one with lines that look like frames."""
    app_frame = app_line(b"x\n" + FRAME * 2)
    assert read(FRAME + blank + app_frame + FRAME) == [LINE, app_frame.partition(b" ")[2], LINE]


@pytest.mark.parametrize("indentation", [b"", b"  ", b"\t", b" " * 40])
def test_edited_frames_are_found_after_damage_also_with_indentation(indentation: bytes) -> None:
    damage = b"junk\n" + indentation
    assert read(FRAME + b"\n " + damage + EDITED_FRAME + indentation + EDITED_FRAME) == [
        LINE,
        Damage(len(damage)),
        EDITED_LINE,
        EDITED_LINE,
    ]


@pytest.mark.parametrize("before", [b"", FRAME, EDITED_FRAME])
@pytest.mark.parametrize(
    "frame", [EDITED_FRAME[:-1], LINE[:-1], b"0 " + LINE[:-1], b"%d " % len(LINE[:-9]) + LINE[:-1]]
)
def test_a_last_line_that_is_not_shorter_than_its_count_ends_with_the_input(
    before: bytes, frame: bytes
) -> None:
    assert read(before + frame) == [*read(before), frame[frame.index(b"<") :]]


@pytest.mark.parametrize("cut_bytes", [2, 9, 40])
def test_a_last_line_that_is_shorter_than_its_count_was_cut_off(cut_bytes: int) -> None:
    cut_frame = FRAME[:-cut_bytes]
    assert read(FRAME + cut_frame) == [LINE, Damage(len(cut_frame))]


@pytest.mark.parametrize("last", [EDITED_FRAME[:-1] + FRAME[:-9], EDITED_FRAME + b"more"])
def test_a_last_line_whose_end_is_not_clear_is_damage(last: bytes) -> None:
    assert read(FRAME + last) == [LINE, Damage(len(last))]


def test_a_connection_that_ends_within_a_message_leaves_damage() -> None:
    reader = FrameReader()
    assert reader.feed(FRAME + EDITED_FRAME[:-1]) == [LINE]
    assert reader.end(is_cut=True) == [Damage(len(EDITED_FRAME) - 1)]


@given(st.lists(PIECES, max_size=8))
def test_no_byte_is_lost_or_invented(parts: list[bytes]) -> None:
    """Before a message there is nothing but its count and blanks."""
    rest = b"".join(parts)
    for item in split(rest):
        rest = rest.lstrip(b"\r\n \t")
        if isinstance(item, Damage):
            rest = rest[item.size :]
            continue
        whole_frame = rest.startswith(counted(item))
        before = re.match(b"[0-9]+ " if whole_frame else rb"([0-9]{1,20} )?", rest)
        assert before
        assert rest[before.end() :].startswith(item)
        rest = rest[before.end() + len(item) :]
    assert rest.strip(b"\r\n \t") == b""


@pytest.mark.parametrize("junk", [b"x" * 2**20, b"1 <1>1 " * 100_000], ids=["junk", "starts"])
def test_a_long_search_is_split_into_steps(junk: bytes) -> None:
    steps = list(split_in_steps(junk + b"\n" + FRAME, 500))
    assert len(steps) > len(junk) / 2**16
    assert [item for step in steps for item in step] == [Damage(len(junk) + 1), LINE]


def test_a_frame_is_found_wherever_a_search_pauses() -> None:
    for size in range(32_740, 32_790):
        assert list(split(b"x" * size + FRAME)) == [Damage(size), LINE]


def test_a_step_has_at_most_as_many_frames_as_asked_for() -> None:
    assert [len(step) for step in split_in_steps(FRAME * 25, 10)] == [10, 10, 5]
