"""Into a store whose apps may be spread over parts: see app.parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from app.active_drain import Claim, Spread, unpack_state
from app.appender import Appender
from app.arrival import Arrival, Brought
from app.parts import base_of, moved_from, name_for
from app.span import Span
from app.store.port import Batch, Guard, Store, StoreUnavailable

TRIES = 4
_NO_STATE = b"?"  # is none, so whoever expects it is told the one there is
_CHANGING = "the parts of this app are being changed: the batch is tried again"


class Spreading(Protocol):
    """What is asked of a store: see store.cluster.ClusterStore."""

    def spread_of(self, app: str) -> Spread | None:
        """How an app is spread, as far as we know."""
        ...

    def learn(self, app: str, spread: Spread) -> None:
        """Take note of how."""
        ...

    async def known(self, name: str, ids: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """The state of a part, and the token of each of these ids that it knows."""
        ...


class _Elsewhere(Exception):
    """Some of what was to be appended belongs to other parts."""


class PartAppender(Appender):
    """An Appender that sends each POST to the part that it belongs to."""

    def __init__(self, store: Store, **settings: Any) -> None:
        """As an Appender."""
        super().__init__(store, **settings)
        self._asked: set[str] = set()  # parts whose state we have just asked for

    @property
    def _parts(self) -> Spreading:
        return cast("Spreading", self._store)

    async def _append_bundles(self, waiting: Sequence[Brought]) -> list[Brought]:
        usual: list[Brought] = []
        apart: list[Brought] = []
        for each in waiting:
            (usual if self._is_settled(each.app) else apart).append(each)
        try:
            return [*await super()._append_bundles(usual), *apart]
        except _Elsewhere:
            return list(waiting)

    def _is_settled(self, name: str) -> bool:
        """Whether all that may be unusual about a part's POSTs is known: a bundle that is refused
        does not say why.
        """
        spread = self._parts.spread_of(base_of(name))
        if spread is None or not spread.version:
            return True
        known = self._states.get(name)
        there = known.state.spread if known is not None and known.state is not None else None
        return there == spread and not self._moved_lately(base_of(name))

    def _moved_lately(self, app: str) -> bool:
        spread = self._parts.spread_of(app)
        return spread is not None and self._clock() < spread.changed_s + self._id_ttl_ms / 1000

    async def _append_all(self, arrivals: Sequence[Arrival]) -> dict[str, list[Batch]]:
        for _ in range(TRIES):
            placed, notes = await self._placed(arrivals)
            try:
                for app, some in (await super()._append_all(placed)).items():
                    notes.setdefault(app, []).extend(some)
            except _Elsewhere:
                continue
            return notes
        raise StoreUnavailable(_CHANGING)

    async def _placed(
        self, arrivals: Sequence[Arrival]
    ) -> tuple[list[Arrival], dict[str, list[Batch]]]:
        """Arrivals under the names of their parts, without those that the part knows where they
        belonged before; and what is to be noted about these.
        """
        placed: list[Arrival] = []
        moved: dict[str, list[Arrival]] = {}
        for arrival in arrivals:
            app = base_of(arrival.app)
            spread = self._parts.spread_of(app)
            arrival.app = name_for(app, arrival.id, spread.parts) if spread else app
            before = moved_from(app, arrival.id, spread) if spread else ""
            if before and self._moved_lately(app):
                moved.setdefault(before, []).append(arrival)
            else:
                placed.append(arrival)
        notes: dict[str, list[Batch]] = {}
        for name, some in moved.items():
            for arrival, token in zip(some, await self._known_before(name, some), strict=True):
                if token is None:
                    placed.append(arrival)
                elif token != arrival.token:
                    notes.setdefault(arrival.app, []).append(arrival.note("duplicate"))
        return placed, notes

    async def _known_before(self, name: str, arrivals: Sequence[Arrival]) -> list[bytes | None]:
        """The tokens that a part knows of, which takes no more of these: it must know of the
        change.
        """
        packed, tokens = await self._parts.known(name, [arrival.id for arrival in arrivals])
        state = unpack_state(packed)
        spread = self._parts.spread_of(base_of(name))
        there = state.spread.version if state is not None and state.spread is not None else 0
        if spread is None or there < spread.version:
            raise StoreUnavailable(_CHANGING)
        return tokens

    def _judged(
        self, app: str, ids: Sequence[bytes], claims: Sequence[Claim]
    ) -> tuple[Guard | None, list[Span]]:
        guard, spans = super()._judged(app, ids, claims)
        known = self._states.get(app)
        expected = known.packed if known is not None else b""
        there = known.state.spread if known is not None and known.state is not None else None
        base = base_of(app)
        if there is not None:
            self._parts.learn(base, there)
        spread = self._parts.spread_of(base)
        if spread is None or not spread.version:
            return guard or Guard(expected, b""), spans
        if there is None or there.version < spread.version:
            return self._ask_for_state(app), spans
        self._asked.discard(app)
        if any(name_for(base, each, spread.parts) != app for each in ids):
            raise _Elsewhere
        return Guard(expected, expected), spans  # which keeps the state as long as the inbox

    def _ask_for_state(self, app: str) -> Guard:
        """What we know of it is older than how the app is spread: the store is asked, once, and
        when it is no further the batch waits.
        """
        if app in self._asked:
            self._asked.remove(app)
            raise StoreUnavailable(_CHANGING)
        self._asked.add(app)
        return Guard(_NO_STATE, b"")
