"""What is kept on disk of what a POST brought comes back, or is refused as damaged."""

from __future__ import annotations

import pytest

from app.ingest.received_batch import pack_received, unpack_received
from app.rollup.codec import NewerVersion, PackError
from tests.support.arrivals import arrival
from tests.support.lines import app_line, load, router


def test_an_arrival_comes_back_as_it_was_but_for_a_note_that_it_was_on_disk() -> None:
    kept = arrival(router(), load(), app_line(), b"junk", frame_id=b"0F", drain="d.1")
    back = unpack_received(pack_received(kept))
    assert (back.app, back.id, back.token, back.drain) == (
        kept.app,
        kept.id,
        kept.token,
        kept.drain,
    )
    assert back.body.received == kept.body.received
    assert back.body.loose == {**kept.body.loose, "spooled": kept.body.received}
    back.body.loose.pop("spooled")
    assert back.body.packed() == kept.body.packed()


@pytest.mark.parametrize("damaged", [b"", b"\x90", b"\x9b\x01\xa4s\x90\xffp"])
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    whole = pack_received(arrival())
    for data in (damaged, damaged + whole[len(damaged) :]):
        if data != whole:
            with pytest.raises(PackError):
                unpack_received(data)


def test_any_byte_damaged_leads_to_nothing_but_a_refusal() -> None:
    whole = pack_received(arrival(drain="d.1"))
    for position in range(len(whole)):
        try:
            unpack_received(whole[:position] + b"\xff" + whole[position + 1 :])
        except PackError:
            continue


def test_an_arrival_of_a_newer_version_says_to_upgrade() -> None:
    with pytest.raises(NewerVersion, match="upgrade"):
        unpack_received(b"\x91\x02")
