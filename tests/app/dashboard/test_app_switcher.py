"""The list that leads from one app's page to another's."""

from __future__ import annotations

from app.dashboard.app_switcher import list_other_apps
from app.storage.interface.apps import SeenApp
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S
from tests.support.service import Clock
from tests.support.verdicts import crashed, store_verdict, verdict

NOW_S = int(AT_S)


async def test_the_other_apps_are_listed_the_worst_first() -> None:
    store = MemoryStore(Clock())
    down = verdict("zoo", "down", NOW_S, "Down.", [crashed(NOW_S - 900)])
    for stored_verdict in (verdict("blog", "ok", NOW_S, "All normal."), down):
        await store_verdict(store, stored_verdict)
    sightings = [SeenApp(app, NOW_S, NOW_S, 0) for app in ("blog", "new", "shop", "zoo")]
    other_apps = await list_other_apps(store, sightings, "shop")
    assert other_apps == [("zoo", "down"), ("blog", "ok"), ("new", None)]


async def test_apps_that_the_reader_cannot_see_are_not_listed() -> None:
    store = MemoryStore(Clock())
    await store_verdict(store, verdict("secret", "ok", NOW_S, "All normal."))
    assert await list_other_apps(store, [SeenApp("shop", NOW_S, NOW_S, 0)], "shop") == []
