"""A cache of slots that were read: Redis sends only slots that have changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.storage.interface.elements import HEADER_BYTES, Slot

CACHED_RESOLUTIONS = frozenset({"10m", "1h"})  # most no longer change; there are too many of 1m
BYTES_MAX = 16 * 1024 * 1024  # 90 days of an app with 8 dynos are 7 to 9 MB
ELEMENTS_MAX = 255  # of a slot, since its count is one byte; a slot that no longer changes has one
_NOT_CACHED = b"\0"


class CachedSlot(NamedTuple):
    """The elements of a slot, and their number and headers as read_lists.lua takes them."""

    version: bytes
    elements: list[bytes]


class SlotCache:
    """Cached slots by key. Over `bytes_max` the least recently used ones are evicted."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: dict[str, CachedSlot] = {}  # least recently used first

    def lookup(self, keys: Sequence[str]) -> dict[str, CachedSlot]:
        """The cached slots among these keys."""
        entries = {}
        for key in keys:
            if entry := self._entries.pop(key, None):
                self._entries[key] = entries[key] = entry
        return entries

    @staticmethod
    def encode_versions(keys: Sequence[str], entries: Mapping[str, CachedSlot]) -> bytes:
        """The versions of the cached slots, as read_lists.lua takes them."""
        if not entries:
            return b""
        return b"".join(entries[key].version if key in entries else _NOT_CACHED for key in keys)

    def fill_in(
        self,
        keys: Sequence[str],
        slots: Sequence[Slot],
        entries: Mapping[str, CachedSlot],
        answer: list[Any],
    ) -> None:
        """Complete the answer of read_lists.lua in place, and cache the slots that it sent.

        Redis answers 0 for a slot that has not changed; its elements come from the cache.
        """
        for index in range(0, len(answer), 2):
            position, elements = answer[index] - 1, answer[index + 1]
            if position == len(keys):  # the inbox
                continue
            if elements:
                self.put(keys[position], slots[position], elements)
            else:
                answer[index + 1] = list(entries[keys[position]].elements)

    def put(self, key: str, slot: Slot, elements: Sequence[bytes]) -> None:
        """Cache a slot, if slots of its kind are cached at all."""
        if slot.resolution not in CACHED_RESOLUTIONS or len(elements) > ELEMENTS_MAX:
            return
        if old_entry := self._entries.pop(key, None):
            self._bytes -= _size(old_entry)
        entry = CachedSlot(bytes((len(elements),)) + _headers(elements), list(elements))
        self._entries[key] = entry
        self._bytes += _size(entry)
        while self._bytes > self._bytes_max:
            self._bytes -= _size(self._entries.pop(next(iter(self._entries))))


def _size(entry: CachedSlot) -> int:
    return sum(map(len, entry.elements))


def _headers(elements: Sequence[bytes]) -> bytes:
    return b"".join([element[:HEADER_BYTES] for element in elements])
