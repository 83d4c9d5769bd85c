"""The list of apps that sent data, and how an app is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from app.storage.interface.elements import Slot

_NOTIFY = " notify"


class Origin(NamedTuple):
    """Where the lines of an app come from.

    kind      drain, replay or simulation
    notifies  whether alerts of the app are sent
    """

    kind: str
    notifies: bool

    @property
    def is_drain(self) -> bool:
        """Whether it is a real app, whose log drain sends its lines."""
        return self.kind == DRAIN.kind

    def encode(self) -> str:
        """The origin as a word or two; "" for a drain, so that older records mean one."""
        return "" if self.is_drain else self.kind + _NOTIFY * self.notifies


DRAIN = Origin("drain", notifies=True)
REPLAY, SIMULATION = "replay", "simulation"


def decode_origin(text: str) -> Origin:
    """The origin that Origin.encode wrote."""
    return Origin(text.removesuffix(_NOTIFY), text.endswith(_NOTIFY)) if text else DRAIN


class SeenApp(NamedTuple):
    """An app that sent data. Times in Unix seconds; `runtime_metrics_s` is 0 for never."""

    app: str
    first_seen_s: int
    last_seen_s: int
    runtime_metrics_s: int
    origin: Origin = DRAIN


class AppReader(Protocol):
    """Reads the list of apps."""

    async def seen_apps(self) -> list[SeenApp]:
        """Every app that has sent data and was not forgotten, sorted by name."""
        ...

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        """Those of these apps whose shard responds now; all of them if there is only one shard."""
        ...


class AppFinder(Protocol):
    """Finds apps that send no more, and that only an archive knows."""

    async def find_app(self, app: str) -> SeenApp | None:
        """An app that has data, in the store or in its archive; None if there is none."""
        ...

    async def former_apps(self) -> list[SeenApp]:
        """The apps that only the archive knows, the latest first.

        Raises:
            HistoryUnavailable: the archive does not answer.
        """
        ...


class AppRegistry(AppReader, Protocol):
    """Maintains the list of apps."""

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        """Record when apps were seen, and the origin of their lines.

        `first_seen_s` only moves back, the other times only forward. An app whose lines ever came
        from a drain has that origin; any other has its latest. The whole list expires `ttl_ms`
        after the last sighting of any app.
        """
        ...

    async def forget_apps(self, before_s: int) -> list[str]:
        """Remove apps last seen before `before_s` from the list of apps; returns their names."""
        ...


class AppRemover(Protocol):
    """Deletes all data of an app."""

    async def remove_app(self, app: str, slots: Sequence[Slot], *, now_s: int, ttl_ms: int) -> None:
        """Delete an app's inbox, these slots, its ids, its alerts and the state of its drains.

        The app also leaves the list of apps. The time is recorded for `ttl_ms` (removed_apps).
        Offsets of a log stay, so that nothing is appended from it twice. Repeat the call after a
        failure.
        """
        ...

    async def removed_apps(self) -> Mapping[str, int]:
        """When apps were removed, in Unix seconds: batches that arrived before do not count."""
        ...
