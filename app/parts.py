"""An app that is too large for one primary of a cluster, spread over parts.

A part is to the store as an app of its own, under a name that no app can have: its inbox, its
slots, the ids of its POSTs. A POST goes where its id says, so that its repetition meets it there.
Readers add the parts up.

How many parts there are stands in the state of each part, which every append is guarded by: a
worker that goes by an older number is refused, learns the new one and sends its POSTs where they
belong. For as long as ids are remembered after a change, a POST that belonged elsewhere before is
looked for there first; since that part has the new state, too, nobody adds it there meanwhile.

One drain counts, the one that was active when the app was spread: which of two counts cannot be
decided in several places at once.
"""

from __future__ import annotations

from app.active_drain import Spread

PARTS_MAX = 64
_MARK = "~"


def base_of(name: str) -> str:
    """The app whose part this is."""
    return name.partition(_MARK)[0]


def names_of(app: str, parts: int) -> list[str]:
    """Of its parts. The first is named as the app is."""
    return [app, *(f"{app}{_MARK}{number}" for number in range(1, parts))]


def name_for(app: str, batch_id: bytes, parts: int) -> str:
    """Of the part that a POST belongs to, by its id: a digest, or random."""
    number = int.from_bytes(batch_id[:8], "big") % parts
    return f"{app}{_MARK}{number}" if number else app


def moved_from(app: str, batch_id: bytes, spread: Spread) -> str:
    """Of the part that it belonged to before the change; "" if it is the same."""
    before = name_for(app, batch_id, spread.before)
    return "" if before == name_for(app, batch_id, spread.parts) else before
