"""A marked batch from end to end: read by the parsers, committed, refused when it comes again,
folded, and read back. It goes to an app of its own, whose name none can have (no app's begins with
"_"), so it is listed nowhere, and it is gone within hours.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from app.folding.fold_worker import FoldWorker
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import merge_packed
from app.rollup.resolutions import HOUR_S, MINUTE_S, align, resolutions
from app.rollup.rollup import Rollup
from app.rollup.time_range import ALWAYS
from app.storage.interface import HEADER_BYTES, Contents, Outcome, Slot, Store

APPS = "_doctor."
LINES = 5
_KEPT_S = HOUR_S


class SelfTestFailed(Exception):
    """What went in did not come out; the message says where."""


async def run_self_test(store: Store, now_s: float) -> None:
    """
    Raises:
        TrialFailed
        StoreUnavailable
    """
    app, dyno = APPS + secrets.token_hex(8), "web.1"
    aggregator = Aggregator(now_s, AcceptanceWindow(MINUTE_S, MINUTE_S))
    aggregator.add_body(_body(dyno, now_s))
    frame_id = batch_id(secrets.token_bytes(16))
    first, again = (
        ReceivedBatch(app, frame_id, aggregator.build_body()).batch(ALWAYS) for _ in range(2)
    )
    appended = await store.append(
        {app: [first, again]}, id_ttl_ms=_KEPT_S * 1000, inbox_ttl_ms=_KEPT_S * 1000
    )
    if appended[app].outcomes != [Outcome.STORED, Outcome.DUPLICATE]:
        raise SelfTestFailed("a batch that came twice was not counted once")
    slot = Slot("1m", align(int(now_s), MINUTE_S))
    _expect(dyno, await store.read(app, [slot]), "after it was committed")
    tiers = resolutions(_KEPT_S, _KEPT_S, _KEPT_S)
    folder = FoldWorker(
        store, tiers, name="doctor", clock=lambda: now_s, interval_s=MINUTE_S, batches=1
    )
    await folder.fold(app)
    contents = await store.read(app, [slot])
    _expect(dyno, contents, "after it was folded")
    slots = [Slot(each.name, align(int(now_s), each.seconds)) for each in tiers]
    await store.delete_slots(app, [*slots, Slot("total", 0)])


def _body(dyno: str, now_s: float) -> bytes:
    at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds")
    text = (
        'at=info method=GET path="/" host=doctor.example request_id=0 fwd="192.0.2.1" '
        f"dyno={dyno} connect=1ms service=10ms status=200 bytes=10 protocol=https"
    )
    line = f"<158>1 {at} host heroku router - {text}\n".encode()
    return b"%d %b" % (len(line), line) * LINES


def _expect(dyno: str, contents: Contents, when: str) -> None:
    rollup = Rollup()
    for element in contents.inbox:
        for _, packed in unpack_batch(element[HEADER_BYTES:]):
            merge_packed(rollup, packed)
    for elements in contents.slots.values():
        for element in elements:
            merge_packed(rollup, element[HEADER_BYTES:])
    found = rollup.requests.get((dyno, 200), 0)
    if found != LINES:
        raise SelfTestFailed(f"{found} of {LINES} lines were there {when}")
