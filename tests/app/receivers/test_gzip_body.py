"""Gzip bodies are inflated in steps, in linear time, up to damage or the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.gzip_body import InflatedTooLarge, inflate_in_steps

MEBIBYTE = 2**20
EMPTY_MEMBER = gzip.compress(b"")


def inflate(body: bytes, bytes_max: int) -> bytes:
    return b"".join(inflate_in_steps(body, bytes_max))


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_gzip_with_several_members_is_inflated_completely(members: list[bytes]) -> None:
    data = b"".join(map(gzip.compress, members))
    assert inflate(data, 10_000) == b"".join(members)


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    for body in (bomb, gzip.compress(b"a") * 3 + bomb, gzip.compress(bytes(600)) * 2):
        with pytest.raises(InflatedTooLarge):
            inflate(body, 1000)


def test_damaged_gzip_is_inflated_up_to_the_damage() -> None:
    data = gzip.compress(b"whole") + gzip.compress(b"x" * 1000)[:20]
    assert inflate(data, 10_000).startswith(b"whole")
    assert inflate(gzip.compress(b"whole") + b"junk", 10_000) == b"whole"
    assert inflate(b"junk", 10_000) == b"\x00"


class CountedInput:
    """Counts the bytes that inflaters get as input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size = self.members = 0
        original = zlib.decompressobj
        counts = self

        class Inflater:
            def __init__(self, wbits: int) -> None:
                counts.members += 1
                self._inflater = original(wbits=wbits)

            def decompress(self, data: bytes, bytes_max: int) -> bytes:
                counts.size += len(data)
                return self._inflater.decompress(data, bytes_max)

            def __getattr__(self, name: str) -> object:
                return getattr(self._inflater, name)

        monkeypatch.setattr("app.receivers.gzip_body.zlib.decompressobj", Inflater)


def test_many_empty_members_are_inflated_in_linear_time_and_in_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = CountedInput(monkeypatch)
    body = EMPTY_MEMBER * 20_000 + gzip.compress(b"end")
    steps = list(inflate_in_steps(body, 1_000))
    assert b"".join(steps) == b"end"
    assert len(steps) > counted.members // 1_000
    assert counted.size < 600 * counted.members
