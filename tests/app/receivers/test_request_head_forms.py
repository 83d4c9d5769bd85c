"""The compiled parser of heads agrees with the Python one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.request_head import parse_common_head
from tests.app.receivers.test_request_head import COMMON, PIECES, UNCOMMON, head
from tests.support.forms import compiled_head


@pytest.mark.parametrize("name", UNCOMMON)
def test_uncommon_heads_are_not_accepted(name: str) -> None:
    assert compiled_head.parse_common_head(UNCOMMON[name] + b"body") is None


@pytest.mark.parametrize("size", range(len(head(COMMON)) + 2))
def test_a_head_is_accepted_once_it_is_complete(size: int) -> None:
    data = (head(COMMON) + b"body")[:size]
    result = compiled_head.parse_common_head(data)
    assert result == parse_common_head(data)
    assert (result is not None) == (size >= len(head(COMMON)))


@pytest.mark.parametrize("path", [b"/drain/", b"/drain", b"/drain//", b"/drain/x", b"/"])
@pytest.mark.parametrize("name", [b"X-Request-Id", b"x-request-ID", b"X-Request-Ids"])
def test_paths_and_request_ids_are_read_alike(path: bytes, name: bytes) -> None:
    data = head({**COMMON, name: b"4f8a6a2e"}).replace(b"/drain", path)
    for size in range(len(data) + 1):
        part = data[:size]
        assert compiled_head.parse_common_head(part) == parse_common_head(part)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 300])
def test_names_and_values_of_any_length_are_read_alike(size: int) -> None:
    for name, value in ((b"X" * size, b"a"), (b"X", b"a" * size)):
        data = head({**COMMON, name: value})
        assert compiled_head.parse_common_head(data) == parse_common_head(data)


@pytest.mark.parametrize("name", [b"Content-Length", b"Logplex-Msg-Count"])
@given(st.one_of(st.from_regex(rb"[0-9]{1,9}", fullmatch=True), st.from_regex(rb"[ -~]{1,9}")))
def test_numbers_are_read_alike(name: bytes, value: bytes) -> None:
    data = head({**COMMON, name: value})
    assert compiled_head.parse_common_head(data) == parse_common_head(data)


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 4), PIECES), max_size=4))
def test_changed_heads_are_read_alike(changes: list[tuple[int, int, bytes]]) -> None:
    data = head(COMMON)
    for position, cut, piece in changes:
        data = data[:position] + piece + data[position + cut :]
    assert compiled_head.parse_common_head(data) == parse_common_head(data)


@given(st.binary(max_size=64), st.integers(0, 250))
def test_any_bytes_are_read_alike(insertion: bytes, position: int) -> None:
    data = head(COMMON)
    data = data[:position] + insertion + data[position:]
    assert compiled_head.parse_common_head(data) == parse_common_head(data)
