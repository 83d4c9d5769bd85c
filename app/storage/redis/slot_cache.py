"""Slots that were read, so that what did not change since need not come again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.storage.interface import HEADER_BYTES, Slot

KEPT = frozenset({"10m", "1h"})  # most of these are closed for long; minutes are too many
BYTES_MAX = 16 * 1024 * 1024  # 90 days of an app with 8 dynos are 7 to 9 MB
ELEMENTS_MAX = 255  # of a slot; those that are closed have one
_UNKNOWN = b"\0"


class CachedSlot(NamedTuple):
    """Elements, and how many they are and their headers, as read.lua takes them."""

    version: bytes
    elements: list[bytes]


class SlotCache:
    """Elements by key. Over `bytes_max` those that were not asked for longest are dropped."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: dict[str, CachedSlot] = {}  # that were asked for last stand last

    def known(self, keys: Sequence[str]) -> dict[str, CachedSlot]:
        """What is held of these."""
        found = {}
        for key in keys:
            if held := self._held.pop(key, None):
                self._held[key] = found[key] = held
        return found

    @staticmethod
    def versions(keys: Sequence[str], known: Mapping[str, CachedSlot]) -> bytes:
        """As read.lua takes them."""
        if not known:
            return b""
        return b"".join(known[key].version if key in known else _UNKNOWN for key in keys)

    def complete(
        self,
        keys: Sequence[str],
        slots: Sequence[Slot],
        known: Mapping[str, CachedSlot],
        found: list[Any],
    ) -> None:
        """Of what read.lua found: put what is known in the place of zeros, and hold the rest."""
        for place in range(0, len(found), 2):
            position, elements = found[place] - 1, found[place + 1]
            if position == len(keys):  # the inbox
                continue
            if elements:
                self.keep(keys[position], slots[position], elements)
            else:
                found[place + 1] = list(known[keys[position]].elements)

    def keep(self, key: str, slot: Slot, elements: Sequence[bytes]) -> None:
        """Hold what was read."""
        if slot.resolution not in KEPT or len(elements) > ELEMENTS_MAX:
            return
        if before := self._held.pop(key, None):
            self._bytes -= _size(before)
        held = CachedSlot(bytes((len(elements),)) + _headers(elements), list(elements))
        self._held[key] = held
        self._bytes += _size(held)
        while self._bytes > self._bytes_max:
            self._bytes -= _size(self._held.pop(next(iter(self._held))))


def _size(held: CachedSlot) -> int:
    return sum(map(len, held.elements))


def _headers(elements: Sequence[bytes]) -> bytes:
    return b"".join([element[:HEADER_BYTES] for element in elements])
