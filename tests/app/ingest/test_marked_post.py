"""Posts of a replay or a simulation: their account, and the mark, also after a wait on disk."""

from __future__ import annotations

from pathlib import Path

from app.ingest.app_sightings import AppSightings
from app.ingest.marked_post import MarkedCommitter
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.connect import connect
from app.storage.interface.apps import REPLAY, Origin
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from tests.support.arrivals import make_committer, make_post, make_writer
from tests.support.lines import app_line, router
from tests.support.service import NOW_S, Clock

ORIGIN = Origin(REPLAY, notifies=False)


def committer(store: Store, spool: Spool | None = None) -> MarkedCommitter:
    return MarkedCommitter(make_committer(make_writer(store), spool), DEFAULT_LIMITS, Clock())


async def test_the_account_has_every_message_and_the_codes_of_both_kinds_of_lines() -> None:
    late = router(NOW_S - 60, head='at=error code=H12 desc="x"', status="503")
    post = make_post(
        *(late, router(NOW_S - 30), app_line(at_s=NOW_S), b"4 junk"),
        *(router(NOW_S - 90_000), router(NOW_S + 1000)),
        drain="",
        promised=6,
    )

    delivery = await committer(MemoryStore(Clock())).commit(post, ORIGIN)

    assert delivery.ledger == {
        **{"promised": 6, "received": 6, "counted": 2, "ignored": 1, "too_old": 1, "too_new": 1},
        "unparsed:header": 1,
    }
    assert delivery.errors == {"H12": 1}
    assert (delivery.first_s, delivery.last_s) == (NOW_S - 60, NOW_S)
    assert (delivery.earliest_ms, delivery.latest_ms) == (
        (NOW_S - 86_400) * 1000,
        (NOW_S + 300) * 1000,
    )


async def test_a_repeated_post_is_a_duplicate_and_nothing_else() -> None:
    store = MemoryStore(Clock())
    first, second = (make_post(drain="", frame_id=b"1") for _ in range(2))
    await committer(store).commit(first, ORIGIN)

    delivery = await committer(store).commit(second, ORIGIN)

    assert (delivery.ledger, delivery.errors) == ({"duplicate": 1}, {})


async def test_a_marked_post_that_waited_on_disk_marks_its_app(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path, bytes_max=2**20, clock=Clock()), MemoryStore(Clock())
    unavailable = connect("unix:///nonexistent/store.sock")
    delivery = await committer(unavailable, spool).commit(make_post(drain=""), ORIGIN)
    sightings = AppSightings(store, ttl_s=3600)

    await SpoolReplayer(
        spool, make_writer(store), on_stored=sightings.record, removed_apps=store.removed_apps
    ).replay()

    assert delivery.ledger == {"received": 1, "counted": 1, "spooled": 1}
    assert [(app.app, app.origin) for app in await store.seen_apps()] == [("shop", ORIGIN)]
    spool.close()
