"""Messages of a syslog connection, in either framing and in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.framing import Damage
from parsers.syslog_stream import MessageReader
from tests.support.lines import counted, message

TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1, max_size=60),
    min_size=1,
)


def read(stream: bytes, cuts: list[int], **limits: int) -> list[bytes | Damage]:
    reader = MessageReader(**limits)
    edges = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [
        stream[start:end] for start, end in zip([0, *edges], [*edges, len(stream)], strict=True)
    ]
    return [item for piece in pieces for item in reader.feed(piece)] + reader.end()


@given(TEXTS, st.lists(st.integers(0, 2_000), max_size=8))
def test_counted_messages_are_read_in_any_pieces(texts: list[str], cuts: list[int]) -> None:
    messages = [message(f"- {text}") for text in texts]
    assert read(b"".join(map(counted, messages)), cuts) == messages


@given(
    TEXTS,
    st.lists(st.integers(0, 2_000), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\0", b"\n\0"]),
)
def test_messages_that_end_with_newlines_or_nuls_are_read_in_any_pieces(
    texts: list[str], cuts: list[int], end: bytes
) -> None:
    messages = [message(f"- {text}", newline=False) for text in texts]
    assert read(b"".join(text + end for text in messages), cuts) == messages


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_bytes_give_the_same_messages_in_any_pieces(stream: bytes, cuts: list[int]) -> None:
    assert read(stream, cuts) == read(stream, [])


def test_newlines_before_and_between_messages_are_skipped() -> None:
    one = message("- x", newline=False)
    assert read(b"\n\r\n" + one + b"\n\n\n" + one + b"\n", []) == [one, one]
    assert read(b"\n\n", []) == []
    assert read(b"", []) == []


@pytest.mark.parametrize("cuts", [[], [5], list(range(0, 400, 7))])
def test_a_message_that_is_too_long_is_damage_and_costs_no_other(cuts: list[int]) -> None:
    short = message("- x", newline=False)
    long = message("- " + "y" * 200, newline=False)
    limit = {"frame_bytes_max": 100}
    items = read(b"\n".join([short, long, short, b""]), cuts, **limit)
    assert items == [short, Damage(len(long)), short]


def test_the_end_of_a_connection_may_end_the_last_message() -> None:
    one = message("- x", newline=False)
    assert read(one + b"\n" + one, []) == [one, one]
    assert read(one + b"\r", []) == [one]
    counted_one = counted(message("- x"))
    assert read(counted_one + counted_one[:-1], []) == [message("- x"), one]


def test_the_last_message_of_a_connection_that_was_cut_is_damage() -> None:
    one = message("- x", newline=False)
    reader = MessageReader()
    assert reader.feed(one) == []
    assert reader.end(is_cut=True) == [Damage(len(one))]


def test_a_message_cut_off_at_the_end_of_a_connection_is_damage() -> None:
    one = message("- x", newline=False)
    assert read(one + b"\n" + one[:20], []) == [one, Damage(20)]
    counted_one = counted(message("- x"))
    assert read(counted_one + counted_one[:20], []) == [message("- x"), Damage(20)]


@pytest.mark.parametrize("begin", [b"200 <13>1 ", b"<13>1 - "])
def test_the_size_of_an_incomplete_message_is_known(begin: bytes) -> None:
    reader = MessageReader()
    assert reader.buffered_bytes == 0
    reader.feed(begin + b"x" * 100)
    assert reader.buffered_bytes == len(begin) + 100
    reader.end()
