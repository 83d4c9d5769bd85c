"""What every page says at its top, while there is something to say about the service itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.folding.memory_pressure import Room
from app.ingest.drain_loop import OwnDrain
from app.ingest.pipeline import Buffering


class Said(Protocol):
    """What else has something to say."""

    def sentences(self) -> list[str]:
        """What the operator should do."""
        ...


class Notices(NamedTuple):
    """Where they come from."""

    buffering: Buffering
    room: Room
    own_drain: OwnDrain
    beside: Sequence[Said] = ()

    @property
    def buffered(self) -> str:
        """What waits on disk, while figures are not complete; "" for nothing."""
        return self.buffering.sentence()

    @property
    def others(self) -> list[str]:
        """What the operator should do."""
        full = self.room.sentence()
        beside = [sentence for each in self.beside for sentence in each.sentences()]
        return [*([full] if full else []), *self.own_drain.sentences(), *beside]
