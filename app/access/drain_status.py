"""Summarizes the drains of each app: secrets, the active drain, and a second one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from app.access.drain_election import DrainElection, unpack_state
from app.access.drain_secrets import DrainRecord, Secret, decode
from app.storage.interface.access import DrainReader
from app.storage.interface.apps import AppReader, SeenApp

OTHER_ACTIVE_S = 900  # a drain that has been silent for longer is considered removed


class DrainStatus(NamedTuple):
    """The drains of an app. Times in Unix seconds, 0 for never; tokens are "" if unknown."""

    app: str
    secrets: list[Secret]
    links: int  # number of drain tokens linked for syslog
    last_seen_s: int
    active_token: str  # of the drain that counts
    active_since_s: int  # its lines count from this timestamp on; 0 for all
    last_delivery_s: int
    other_token: str  # of a drain that delivered last and does not count
    other_s: int
    space_apps: list[str]  # whose lines the drain of a space delivers; empty for an app's drain

    @property
    def is_rotating(self) -> bool:
        """Whether there is a new secret that no drain has used yet."""
        return len(self.secrets) > 1 and not self.secrets[0].until_s

    @property
    def remove_other(self) -> str:
        """The Heroku command that removes the drain that does not count."""
        return removal_command(self.app, self.other_token)

    @property
    def second_drain_notice(self) -> str:
        """A sentence about the drain that does not count, with the command that removes it."""
        return (
            f"{self.app} has a second drain, {self.other_token}. Its lines are not counted again. "
            f"Remove it: {self.remove_other}"
        )


def removal_command(app: str, token: str) -> str:
    """The Heroku command that removes a drain."""
    return f"heroku drains:remove {token} -a {app}"


class DrainStatusReader(DrainReader, AppReader, Protocol):
    """Reads drains, and when their apps were seen."""


async def drain_statuses(
    store: DrainStatusReader, apps: Collection[str] | None = None
) -> list[DrainStatus]:
    """The status of these apps, or of all that may send or have sent; sorted by name."""
    records = await store.drains()
    sightings = {sighting.app: sighting for sighting in await store.seen_apps()}
    apps = sorted({*records, *sightings} if apps is None else apps)
    states = await store.drain_states(apps)
    return [
        _drain_status(app, records.get(app), sightings.get(app), unpack_state(states.get(app, b"")))
        for app in apps
    ]


def second_drains(statuses: Sequence[DrainStatus], now_s: float) -> list[DrainStatus]:
    """The apps with another drain that delivered recently and does not count."""
    return [
        status
        for status in statuses
        if status.other_token and status.other_s >= now_s - OTHER_ACTIVE_S
    ]


def _drain_status(
    app: str, record: str | None, sighting: SeenApp | None, state: DrainElection | None
) -> DrainStatus:
    drain = decode(record) if record is not None else DrainRecord([])
    return DrainStatus(
        app=app,
        secrets=drain.secrets,
        links=len(drain.links),
        last_seen_s=sighting.last_seen_s if sighting else 0,
        active_token=state.token if state else "",
        active_since_s=state.since_s if state else 0,
        last_delivery_s=state.last_delivery_s if state else 0,
        other_token=state.other_token if state else "",
        other_s=state.other_s if state else 0,
        space_apps=drain.apps,
    )
