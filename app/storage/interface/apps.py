"""The list of apps that sent data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class SeenApp(NamedTuple):
    """An app that sent data. Times in Unix seconds; `runtime_metrics_s` is 0 for never."""

    app: str
    first_seen_s: int
    last_seen_s: int
    runtime_metrics_s: int


class AppReader(Protocol):
    """Reads the list of apps."""

    async def seen_apps(self) -> list[SeenApp]:
        """Every app that has sent data and was not forgotten, sorted by name."""
        ...

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        """Those of these apps whose shard responds now; all of them if there is only one shard."""
        ...


class AppRegistry(AppReader, Protocol):
    """Maintains the list of apps."""

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        """Record when apps were seen.

        `first_seen_s` only moves back, the other times only forward. The whole list expires
        `ttl_ms` after the last sighting of any app.
        """
        ...

    async def forget_apps(self, before_s: int) -> list[str]:
        """Remove apps last seen before `before_s` from the list of apps; returns their names."""
        ...
