"""Heads are read as the pattern reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.request_head import parse_common_head
from tests.app.receivers.test_request_head import PIECES, UNUSUAL, USUAL, head
from tests.support.forms import compiled_head


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_not_usual_is_not_read(name: str) -> None:
    assert compiled_head.parse_common_head(UNUSUAL[name] + b"body") is None


@pytest.mark.parametrize("size", range(len(head(USUAL)) + 2))
def test_a_head_is_read_when_it_is_whole(size: int) -> None:
    data = (head(USUAL) + b"body")[:size]
    found = compiled_head.parse_common_head(data)
    assert found == parse_common_head(data)
    assert (found is not None) == (size >= len(head(USUAL)))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 300])
def test_names_and_values_of_any_length_are_read_alike(size: int) -> None:
    for name, value in ((b"X" * size, b"a"), (b"X", b"a" * size)):
        data = head({**USUAL, name: value})
        assert compiled_head.parse_common_head(data) == parse_common_head(data)


@pytest.mark.parametrize("name", [b"Content-Length", b"Logplex-Msg-Count"])
@given(st.one_of(st.from_regex(rb"[0-9]{1,9}", fullmatch=True), st.from_regex(rb"[ -~]{1,9}")))
def test_numbers_are_read_alike(name: bytes, value: bytes) -> None:
    data = head({**USUAL, name: value})
    assert compiled_head.parse_common_head(data) == parse_common_head(data)


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 4), PIECES), max_size=4))
def test_changed_heads_are_read_alike(changes: list[tuple[int, int, bytes]]) -> None:
    data = head(USUAL)
    for position, cut, piece in changes:
        data = data[:position] + piece + data[position + cut :]
    assert compiled_head.parse_common_head(data) == parse_common_head(data)


@given(st.binary(max_size=64), st.integers(0, 250))
def test_any_bytes_are_read_alike(inserted: bytes, position: int) -> None:
    data = head(USUAL)
    data = data[:position] + inserted + data[position:]
    assert compiled_head.parse_common_head(data) == parse_common_head(data)
