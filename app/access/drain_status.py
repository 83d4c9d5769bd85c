"""What there is to say about each app's drains."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from app.access.drain_election import DrainElection, unpack_state
from app.access.drain_secrets import DrainRecord, Secret, decode
from app.storage.interface import Reader, SeenApp

OTHER_WITHIN_S = 900  # a drain that has not delivered for longer is taken to be gone


class DrainStatus(NamedTuple):
    """An app and its drains. Times in Unix seconds, 0 for never; tokens are "" where unknown."""

    app: str
    secrets: list[Secret]
    links: int  # how many drain tokens speak for it over syslog
    last_seen_s: int
    active: str  # token of the drain that counts
    active_since_s: int  # from which its lines count, by their own time; 0 for ever
    heard_s: int
    other: str  # token of another one that delivers and does not count
    other_s: int

    @property
    def waits_for_rotation(self) -> bool:
        """Whether a new secret was given out, and no drain has come with it yet."""
        return len(self.secrets) > 1 and not self.secrets[0].until_s

    @property
    def remove_other(self) -> str:
        """The command that ends the other drain."""
        return removal(self.app, self.other)

    @property
    def doubled(self) -> str:
        """What to say and do about the other drain."""
        return (
            f"{self.app} has a second drain, {self.other}; its lines are not counted again. "
            f"Remove it: {self.remove_other}"
        )


def removal(app: str, token: str) -> str:
    """The command that ends a drain at Heroku."""
    return f"heroku drains:remove {token} -a {app}"


async def drain_statuses(store: Reader, of: Collection[str] | None = None) -> list[DrainStatus]:
    """Every app that may send or has sent, or those named, by name."""
    records = await store.drains()
    seen = {each.app: each for each in await store.seen_apps()}
    apps = sorted({*records, *seen} if of is None else of)
    states = await store.drain_states(apps)
    return [
        _info(app, records.get(app), seen.get(app), unpack_state(states.get(app, b"")))
        for app in apps
    ]


def second_drains(infos: Sequence[DrainStatus], now_s: float) -> list[DrainStatus]:
    """Those of which another drain delivers now and does not count."""
    return [info for info in infos if info.other and info.other_s >= now_s - OTHER_WITHIN_S]


def _info(
    app: str, record: str | None, seen: SeenApp | None, state: DrainElection | None
) -> DrainStatus:
    known = decode(record) if record is not None else DrainRecord([])
    return DrainStatus(
        app=app,
        secrets=known.secrets,
        links=len(known.links),
        last_seen_s=seen.last_seen_s if seen else 0,
        active=state.token if state else "",
        active_since_s=state.since_s if state else 0,
        heard_s=state.heard_s if state else 0,
        other=state.other if state else "",
        other_s=state.other_s if state else 0,
    )
