"""A batch on disk is read back unchanged, or rejected as damaged."""

from __future__ import annotations

import pytest

from app.ingest.received_batch import pack_received, unpack_received
from app.rollup.codec import NewerVersion, PackError
from tests.support.arrivals import make_batch
from tests.support.lines import app_line, load, router


def test_a_batch_is_restored_unchanged_except_for_the_spooled_entry() -> None:
    batch = make_batch(router(), load(), app_line(), b"junk", frame_id=b"0F", drain="d.1")
    copy = unpack_received(pack_received(batch))
    assert (copy.app, copy.id, copy.token, copy.drain) == (
        batch.app,
        batch.id,
        batch.token,
        batch.drain,
    )
    assert copy.body.received == batch.body.received
    assert copy.body.body_ledger == {**batch.body.body_ledger, "spooled": batch.body.received}
    copy.body.body_ledger.pop("spooled")
    assert copy.body.pack() == batch.body.pack()


@pytest.mark.parametrize("start", [b"", b"\x90", b"\x9b\x01\xa4s\x90\xffp"])
def test_damaged_bytes_are_rejected(start: bytes) -> None:
    record = pack_received(make_batch())
    for data in (start, start + record[len(start) :]):
        if data != record:
            with pytest.raises(PackError):
                unpack_received(data)


def test_any_damaged_byte_is_at_most_a_pack_error() -> None:
    record = pack_received(make_batch(drain="d.1"))
    for position in range(len(record)):
        try:
            unpack_received(record[:position] + b"\xff" + record[position + 1 :])
        except PackError:
            continue


def test_a_record_of_a_newer_version_asks_for_an_upgrade() -> None:
    with pytest.raises(NewerVersion, match="upgrade"):
        unpack_received(b"\x91\x02")
