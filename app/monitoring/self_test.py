"""Sends a marked batch through parsing, commit, deduplication, folding and reading.

The batch goes to an app of its own. Its name begins with "_", which no real app's name can, so it
is listed nowhere. Its data is deleted at the end, or expires within hours.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Protocol

from app.folding.fold_worker import FoldWorker, FoldWorkerStore
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import merge_packed
from app.rollup.resolutions import HOUR_S, MINUTE_S, align, resolutions
from app.rollup.rollup import Rollup
from app.rollup.time_range import ALWAYS
from app.storage.interface.batches import BatchStore, Outcome
from app.storage.interface.elements import HEADER_BYTES, Slot
from app.storage.interface.folding import SlotRemover
from app.storage.interface.rollups import Contents, RollupReader

APPS = "_doctor."
LINES = 5
_RETENTION_S = HOUR_S


class SelfTestFailed(Exception):
    """The store returned other lines than were sent; the message says at which step."""


class SelfTestStore(BatchStore, FoldWorkerStore, RollupReader, SlotRemover, Protocol):
    """What the test needs of the store."""


async def run_self_test(store: SelfTestStore, now_s: float) -> None:
    """Send the batch twice, and check that its lines are there once, before and after folding.

    Raises:
        SelfTestFailed: lines are missing or counted twice.
        StoreUnavailable: the store does not answer.
    """
    app, dyno = APPS + secrets.token_hex(8), "web.1"
    aggregator = Aggregator(now_s, AcceptanceWindow(MINUTE_S, MINUTE_S))
    aggregator.add_body(_body(dyno, now_s))
    frame_id = batch_id(secrets.token_bytes(16))
    batch, duplicate = (
        ReceivedBatch(app, frame_id, aggregator.build_body()).build_attempt(ALWAYS)
        for _ in range(2)
    )
    results = await store.append(
        {app: [batch, duplicate]},
        id_ttl_ms=_RETENTION_S * 1000,
        inbox_ttl_ms=_RETENTION_S * 1000,
    )
    if results[app].outcomes != [Outcome.STORED, Outcome.DUPLICATE]:
        raise SelfTestFailed("a batch that was sent twice was not counted once")
    slot = Slot("1m", align(int(now_s), MINUTE_S))
    _check_lines(dyno, await store.read(app, [slot]), "after the commit")
    tiers = resolutions(_RETENTION_S, _RETENTION_S, _RETENTION_S)
    worker = FoldWorker(
        store, tiers, name="doctor", clock=lambda: now_s, interval_s=MINUTE_S, batches=1
    )
    await worker.fold(app)
    _check_lines(dyno, await store.read(app, [slot]), "after folding")
    slots = [Slot(tier.name, align(int(now_s), tier.seconds)) for tier in tiers]
    await store.delete_slots(app, [*slots, Slot("total", 0)])


def _body(dyno: str, now_s: float) -> bytes:
    at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds")
    text = (
        'at=info method=GET path="/" host=doctor.example request_id=0 fwd="192.0.2.1" '
        f"dyno={dyno} connect=1ms service=10ms status=200 bytes=10 protocol=https"
    )
    line = f"<158>1 {at} host heroku router - {text}\n".encode()
    return b"%d %b" % (len(line), line) * LINES


def _check_lines(dyno: str, contents: Contents, step: str) -> None:
    rollup = Rollup()
    for element in contents.inbox:
        for _, data in unpack_batch(element[HEADER_BYTES:]):
            merge_packed(rollup, data)
    for elements in contents.slots.values():
        for element in elements:
            merge_packed(rollup, element[HEADER_BYTES:])
    lines = rollup.requests.get((dyno, 200), 0)
    if lines != LINES:
        raise SelfTestFailed(f"{lines} of {LINES} lines were there {step}")
