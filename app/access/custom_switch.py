"""The switch of custom metrics: if it is on, workers search an app's own output for marks.

It is a note of the store, `custom:APP`. All workers follow within MAX_STALENESS_S.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.storage.interface.access import AccessStore

_CUSTOM = "custom:"
_ON = "on"


def custom_apps(notes: Mapping[str, str]) -> frozenset[str]:
    """The apps for which custom metrics are on."""
    return frozenset(name.removeprefix(_CUSTOM) for name in notes if name.startswith(_CUSTOM))


async def switch_custom(store: AccessStore, app: str, *, is_on: bool) -> None:
    """Switch custom metrics of an app on or off. Stored data stays."""
    new_note = _ON if is_on else ""
    is_set = False
    while not is_set:
        note = (await store.access_tables()).notes.get(_CUSTOM + app, "")
        is_set = note == new_note or await store.compare_and_set_note(_CUSTOM + app, note, new_note)


async def switch_on_again(store: AccessStore, apps: Iterable[str]) -> None:
    """Write the notes of these apps to a store that lacks them."""
    for app in apps:
        await store.compare_and_set_note(_CUSTOM + app, "", _ON)
