"""The events of a log of any length, by kind: lines that tell one story count once."""

from __future__ import annotations

from collections.abc import Mapping

from app.query.event_stories import tell_events
from app.rollup.events import EventKey
from app.traffic.occurrences import Occurrences

HELD_MAX = 50_000  # events in memory; of those beyond, only the last hour waits for its end
_STORY_MS = 3_600_000  # a release command may fail an hour after its deploy
_MS = 1000


class ToldEvents:
    """Collects the events of all lines. Lines may come in any order within an hour or so."""

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self._held_max = held_max
        self.by_kind: dict[str, Occurrences] = {}
        self._counts: dict[EventKey, int] = {}
        self._told_ms = 0  # events before this are in `by_kind`

    def add(self, counts: Mapping[EventKey, int]) -> None:
        """Add counts by event."""
        for event, count in counts.items():
            if event.at_ms < self._told_ms:  # later than all others: its story is told already
                self._add_told(event, count)
            else:
                self._counts[event] = self._counts.get(event, 0) + count
        if len(self._counts) > self._held_max:
            self._tell(max(event.at_ms for event in self._counts) - _STORY_MS)

    def finish(self) -> None:
        """Tell all events that wait."""
        self._tell(None)

    def _tell(self, until_ms: int | None) -> None:
        for event, count in tell_events(self._counts).items():
            if self._told_ms <= event.at_ms and (until_ms is None or event.at_ms < until_ms):
                self._add_told(event, count)
        if until_ms is None:
            self._counts = {}
            return
        self._told_ms = max(until_ms, self._told_ms)
        # What comes may belong to a story that began before: its beginning stays.
        self._counts = {
            event: count
            for event, count in self._counts.items()
            if event.at_ms >= until_ms - _STORY_MS
        }

    def _add_told(self, event: EventKey, count: int) -> None:
        at_ms, kind, source, detail = event
        text = f"status {detail}" if kind == "exit" else detail
        name = " ".join(filter(None, (source, text)))
        self.by_kind.setdefault(kind, Occurrences()).add(at_ms // _MS, count, name)
