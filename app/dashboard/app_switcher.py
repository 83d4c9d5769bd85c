"""The other apps, for the list that leads from one app's page to another's: the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.judgement.verdict import State
from app.storage.interface.alerts import AlertReader
from app.storage.interface.apps import SeenApp
from app.verdicts.urgency import worst_first
from app.verdicts.verdict_reader import stored_verdicts

SWITCHER_MAX = 200  # apps; the other_apps are on the page of all apps


class SwitcherApp(NamedTuple):
    """An app, and the state of its latest verdict that is stored; None before the first one."""

    app: str
    state: State | None


async def list_other_apps(
    store: AlertReader, sightings: Sequence[SeenApp], app: str
) -> list[SwitcherApp]:
    """The apps but this one, the worst first.

    Raises:
        StoreUnavailable
    """
    verdicts = await stored_verdicts(store)
    names = {sighting.app for sighting in sightings} - {app}
    verdicts_by_urgency = worst_first(
        verdict for name, verdict in verdicts.items() if name in names
    )
    other_apps = [SwitcherApp(verdict.app, verdict.state) for verdict in verdicts_by_urgency]
    other_apps += [SwitcherApp(name, None) for name in sorted(names - verdicts.keys())]
    return other_apps[:SWITCHER_MAX]
