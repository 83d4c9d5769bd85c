"""Notes that a store keeps beside its drains: that it lost its data, and switches of apps.

loss            the StoreLoss, once a worker has noticed one
custom:APP      custom metrics are on (app.access.custom_switch)
revoked:APP     the newest generation of the secrets that the app had when its drain was removed
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from app.storage.interface.access import AccessReader, AccessStore
from app.support.about import command

LOSS = "loss"
_REVOKED = "revoked:"


class StoreLoss(msgspec.Struct, frozen=True):
    """What this store lacks, because it lost its data or took the place of another store.

    Attributes:
        noticed_s: Unix seconds.
        drains: how many drains it lacked; of the worker that noticed.
        tokens: the same of read tokens.
        state: `restoring` while workers write back what it lacks; `restored` or `discarded` once
            the operator has decided.
    """

    noticed_s: int
    drains: int
    tokens: int
    state: Literal["lost", "restoring", "restored", "discarded"] = "lost"

    @property
    def is_active(self) -> bool:
        """Whether nobody has decided yet."""
        return self.state in ("lost", "restoring")


_decode = msgspec.json.Decoder(StoreLoss).decode


def encode_loss(loss: StoreLoss) -> str:
    """Encode a loss for the store."""
    return msgspec.json.encode(loss).decode()


def loss_in(notes: Mapping[str, str]) -> StoreLoss | None:
    """The last loss, also one that is over; None for a store that always had its data."""
    return _decode(notes[LOSS]) if LOSS in notes else None


def revoked_generation(notes: Mapping[str, str], app: str) -> int:
    """The newest generation of an app's secrets that was removed; 0 for none."""
    return int(notes.get(_REVOKED + app, "0"))


async def note_revoked(store: AccessStore, app: str, generation: int) -> None:
    """Note that an app's secrets up to this generation are removed.

    Without the note, a secret that another store issued would be accepted again.
    """
    is_noted = False
    while not is_noted:
        note = (await store.access_tables()).notes.get(_REVOKED + app, "")
        new_note = str(max(generation, int(note or "0")))
        is_noted = await store.compare_and_set_note(_REVOKED + app, note, new_note)


async def loss_notice(store: AccessReader) -> str:
    """The sentence about an active loss of this store; "" if there is none."""
    loss = loss_in((await store.access_tables()).notes)
    return describe_loss(loss) if loss is not None and loss.is_active else ""


def describe_loss(loss: StoreLoss) -> str:
    """Sentences about an active loss, with the fix."""
    noticed = f"{datetime.fromtimestamp(loss.noticed_s, UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"The store lost its data at {noticed}, or another one took its "
        f"place. Known drains are still accepted. {loss.drains:,} of them and {loss.tokens:,} read "
        f"tokens are only in copies that workers keep. Write the copies back: {command()} restore. "
        f"Or give them up: {command()} restore --discard."
    )
