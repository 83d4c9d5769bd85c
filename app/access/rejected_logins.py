"""The last log-ins at the drain that were refused: for whoever wonders why nothing arrives.

What a stranger sends as user or token may be anything, a password in the wrong place too. So it is
kept only where it has the form of an app's name or of a drain token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.access.drain_registry import valid_app
from app.storage.interface import REJECTED_LOGINS_PREFIX, Reader, Store

REFUSALS_MAX = 20
KEPT_S = 24 * 3600
_TOKEN = re.compile(r"d\.[0-9a-f-]{36}")


class Key(NamedTuple):
    """Who was refused and why; `user` and `token` are "" where they have not the right form."""

    user: str
    token: str
    reason: str


class RejectedLogin(msgspec.Struct, frozen=True):
    """Times in Unix seconds."""

    user: str
    token: str
    reason: str
    count: int
    first_s: int
    last_s: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[RejectedLogin]).decode


class RejectedLogins:
    """Those of this worker."""

    def __init__(self, store: Store, clock: Callable[[], float], *, name: str) -> None:
        """`name`: the worker's."""
        self._store = store
        self._clock = clock
        self._name = REJECTED_LOGINS_PREFIX + name
        self._held: dict[Key, RejectedLogin] = {}  # the one that was added last comes last
        self._changed = False

    def add(self, user: str, token: str, reason: str) -> None:
        """Take note of one."""
        user = user if valid_app(user) else ""
        token = token if _TOKEN.fullmatch(token) else ""
        key = Key(user, token, reason)
        now_s = int(self._clock())
        known = self._held.pop(key, None)
        self._held[key] = RejectedLogin(
            *key,
            count=known.count + 1 if known else 1,
            first_s=known.first_s if known else now_s,
            last_s=now_s,
        )
        if len(self._held) > REFUSALS_MAX:
            del self._held[next(iter(self._held))]
        self._changed = True

    async def publish(self) -> None:
        """Tell the store, if there is news.

        Raises:
            StoreUnavailable: try again later.
        """
        if self._changed:
            fields = {"refusals": _encode(list(self._held.values())).decode()}
            await self._store.heartbeat(self._name, fields, ttl_ms=KEPT_S * 1000)
            self._changed = False


async def recent_rejected_logins(store: Reader) -> list[RejectedLogin]:
    """The last REFUSALS_MAX of all workers, the newest first."""
    merged: dict[Key, RejectedLogin] = {}
    for refusal in _published(await store.heartbeats()):
        key = Key(refusal.user, refusal.token, refusal.reason)
        known = merged.get(key)
        merged[key] = _merge(known, refusal) if known else refusal
    newest = sorted(merged.values(), key=lambda each: each.last_s, reverse=True)
    return newest[:REFUSALS_MAX]


def _published(heartbeats: Mapping[str, Mapping[str, str]]) -> list[RejectedLogin]:
    found = []
    for name, fields in heartbeats.items():
        if name.startswith(REJECTED_LOGINS_PREFIX):
            found += _decode(fields["refusals"])
    return found


def _merge(one: RejectedLogin, other: RejectedLogin) -> RejectedLogin:
    return msgspec.structs.replace(
        one,
        count=one.count + other.count,
        first_s=min(one.first_s, other.first_s),
        last_s=max(one.last_s, other.last_s),
    )
