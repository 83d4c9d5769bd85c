"""Bounds what many holders keep together: above it, the largest group loses its oldest holder.

A holder that is soon done is hardly ever the oldest one, and a group that keeps little is never the
largest. So whoever uses up the budget is the one who loses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from itertools import islice
from typing import Generic, TypeVar

COMPARED_GROUPS_MAX = 64  # to compare all of them would be expensive during a flood

H = TypeVar("H", bound=Hashable)


class _Group(Generic[H]):
    def __init__(self) -> None:
        self.amount = 0
        # By holder, oldest first. A plain dict finds its first entry slowly after many deletions.
        self.amounts = OrderedDict[H, int]()


class EvictingBudget(Generic[H]):
    """Counts the amounts of holders. Holders with an equal group belong together, such as a peer's.

    Not bound to a unit: it counts connections or bytes.
    """

    def __init__(self, amount_max: int, evict: Callable[[H], None]) -> None:
        """`evict`: called for a holder that was removed because the amount exceeded its maximum."""
        self._amount_max = amount_max
        self._evict = evict
        self._groups: dict[Hashable, _Group[H]] = {}
        self._group_keys: dict[H, Hashable] = {}
        self.amount = 0

    def hold(self, holder: H, group: Hashable, amount: int = 1) -> None:
        """Set the amount of a holder, and evict holders until the total is in bounds.

        The holder itself may be evicted.
        """
        if self._group_keys.get(holder, group) != group:
            self.release(holder)
        self._group_keys[holder] = group
        owner = self._groups.get(group)
        if owner is None:
            owner = self._groups[group] = _Group()
        more = amount - owner.amounts.get(holder, 0)
        owner.amounts[holder] = amount
        owner.amount += more
        self.amount += more
        while self.amount > self._amount_max:
            self.evict_one()

    def holders(self) -> Iterable[tuple[H, Hashable]]:
        """All holders with their groups."""
        return self._group_keys.items()

    def release(self, holder: H) -> None:
        """Forget a holder; nothing happens if it is unknown."""
        group = self._group_keys.pop(holder, None)
        if group is None:
            return
        owner = self._groups[group]
        amount = owner.amounts.pop(holder)
        owner.amount -= amount
        self.amount -= amount
        if not owner.amounts:
            del self._groups[group]

    def evict_one(self, spare: H | None = None) -> bool:
        """Evict the oldest holder of the largest group; False if there is none but `spare`."""
        if not self._groups:
            return False
        groups = islice(self._groups.values(), COMPARED_GROUPS_MAX)
        largest = max(groups, key=lambda group: group.amount)
        holder = next(iter(largest.amounts))
        if holder == spare:
            return False
        self.release(holder)
        self._evict(holder)
        return True

    def amount_of(self, group: Hashable) -> int:
        """What the holders of a group keep together."""
        owner = self._groups.get(group)
        return owner.amount if owner is not None else 0

    def is_oldest(self, holder: H) -> bool:
        """Whether no other holder of its group is older."""
        owner = self._groups.get(self._group_keys.get(holder))
        return owner is not None and next(iter(owner.amounts)) == holder
