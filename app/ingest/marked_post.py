"""Commits posts of a replay or a simulation, which say so, and accounts for their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.ingest.aggregator import AcceptanceWindow, AggregatedBody
from app.ingest.drain_post import DrainPost
from app.ingest.group_commit import BatchCommitter, commit
from app.query.delivery import Delivery
from app.rollup.accelerated import merge_rollups, to_python
from app.rollup.rollup import CardinalityLimits
from app.storage.interface.apps import Origin


class MarkedCommitter(NamedTuple):
    """Commits posts of a replay or a simulation, and marks their app."""

    committer: BatchCommitter
    limits: CardinalityLimits
    clock: Callable[[], float]

    async def commit(self, post: DrainPost, origin: Origin) -> Delivery:
        """Commit a post; returns the account of its messages.

        Raises:
            StoreUnavailable: see app.ingest.group_commit.commit.
        """
        arrived_s = self.clock()
        body = await post.aggregate(arrived_s, self.limits)
        body.activity = msgspec.structs.replace(body.activity, origin=origin.encode())
        delivery = account_for(body, arrived_s, post.key.acceptance)
        is_stored = await commit(self.committer, msgspec.structs.replace(post, content=body))
        if body.is_duplicate:
            return msgspec.structs.replace(delivery, ledger={"duplicate": body.received}, errors={})
        if is_stored:
            return delivery
        ledger = {**delivery.ledger, "spooled": body.received}
        return msgspec.structs.replace(delivery, ledger=ledger)


def account_for(body: AggregatedBody, arrived_s: float, acceptance: AcceptanceWindow) -> Delivery:
    """The account of the messages in a body that arrived at this time."""
    errors: dict[str, int] = {}
    for rollup in body.rollups.values():
        fast_rollup = merge_rollups([rollup]) if isinstance(rollup, bytes) else rollup
        for (_, code), lines in to_python(fast_rollup).errors.items():
            errors[code] = errors.get(code, 0) + lines
    has_accepted = bool(body.rollups)
    return Delivery(
        ledger=body.ledger,
        errors=errors,
        first_s=body.activity.first_s if has_accepted else 0,
        last_s=body.activity.last_s if has_accepted else 0,
        earliest_ms=int((arrived_s - acceptance.past_s) * 1000),
        latest_ms=int((arrived_s + acceptance.future_s) * 1000),
    )
