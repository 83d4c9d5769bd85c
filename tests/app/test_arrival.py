"""What POSTs brought is pushed under a new header each time; what is kept of one on disk comes
back, or is refused as damaged.
"""

from __future__ import annotations

import pytest

from app.arrival import pack_arrival, unpack_arrival
from app.bundle import Bundle, Post, Sender
from app.packing import NewerVersion, PackError
from app.rollup import CAPS
from app.store.port import HEADER_BYTES, random_bytes
from tests.support.arrivals import HORIZON, arrival
from tests.support.lines import app_line, load, router
from tests.support.service import NOW_S


def test_each_attempt_to_push_the_same_has_a_header_of_its_own() -> None:
    """By which a fold proves that the store has forgotten none of what it read."""
    together = Bundle(Sender("shop", "", 1), NOW_S, HORIZON, CAPS)
    together.add(Post(b"1" * 16, random_bytes(), router(NOW_S), 1))
    for brought in (arrival(router()), together):
        attempts = [brought.element() for _ in range(3)]
        assert len({element[:HEADER_BYTES] for element in attempts}) == 3
        assert len({element[HEADER_BYTES:] for element in attempts}) == 1


def test_an_arrival_comes_back_as_it_was_but_for_a_note_that_it_was_on_disk() -> None:
    kept = arrival(router(), load(), app_line(), b"junk", frame_id=b"0F", drain="d.1")
    back = unpack_arrival(pack_arrival(kept))
    assert (back.app, back.id, back.token, back.drain) == (
        kept.app,
        kept.id,
        kept.token,
        kept.drain,
    )
    assert back.parts.received == kept.parts.received
    assert back.parts.loose == {**kept.parts.loose, "spooled": kept.parts.received}
    back.parts.loose.pop("spooled")
    assert back.parts.packed() == kept.parts.packed()


@pytest.mark.parametrize("damaged", [b"", b"\x90", b"\x9b\x01\xa4s\x90\xffp"])
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    whole = pack_arrival(arrival())
    for data in (damaged, damaged + whole[len(damaged) :]):
        if data != whole:
            with pytest.raises(PackError):
                unpack_arrival(data)


def test_any_byte_damaged_leads_to_nothing_but_a_refusal() -> None:
    whole = pack_arrival(arrival(drain="d.1"))
    for position in range(len(whole)):
        try:
            unpack_arrival(whole[:position] + b"\xff" + whole[position + 1 :])
        except PackError:
            continue


def test_an_arrival_of_a_newer_version_says_to_upgrade() -> None:
    with pytest.raises(NewerVersion, match="upgrade"):
        unpack_arrival(b"\x91\x02")
