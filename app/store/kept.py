"""Slots that were read, so that what did not change since need not come again."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.port import Slot

KEPT = frozenset({"10m", "1h"})  # most of these are closed for long; minutes are too many
BYTES_MAX = 16 * 1024 * 1024  # 90 days of an app with 8 dynos are 7 MB


class KeptSlots:
    """Elements by key. Over `bytes_max` those that were not asked for longest are dropped."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._elements: dict[str, list[bytes]] = {}  # that were asked for last stand last

    def known(self, keys: Sequence[str], slots: Sequence[Slot]) -> dict[str, list[bytes]]:
        """What is held of these."""
        found = {}
        for key, slot in zip(keys, slots, strict=True):
            if slot.resolution in KEPT and (elements := self._elements.pop(key, None)):
                self._elements[key] = elements
                found[key] = list(elements)
        return found

    def keep(self, key: str, slot: Slot, elements: list[bytes]) -> None:
        """Hold what was read."""
        if slot.resolution not in KEPT:
            return
        self._bytes += _size(elements) - _size(self._elements.pop(key, []))
        self._elements[key] = list(elements)
        while self._bytes > self._bytes_max:
            self._bytes -= _size(self._elements.pop(next(iter(self._elements))))


def _size(elements: Sequence[bytes]) -> int:
    return sum(map(len, elements))
