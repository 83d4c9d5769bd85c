"""The headers of log-shuttle and other direct senders, which send no Logplex-Frame-Id.

Heroku's log-shuttle (github.com/heroku/log-shuttle, http_outlet.go and logplex_formatter.go) makes
up to three attempts to deliver a batch when it gets no answer. All carry the same X-Request-Id, a
UUID that it draws for the batch. Proxies and scripts reuse such ids for other requests, so a batch
is identified by its request id and its body together.

When lines were lost before the batch, log-shuttle says so twice: in Logplex-Drop-Count and
Logplex-Lost-Count, and in a line for each at the head of the body (L12 and L13). Each attempt
writes the present time into these lines, and only there does its body differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from itertools import islice

from app.ingest.received_batch import batch_id
from app.receivers.request_head import DROP_COUNT, LOST_COUNT, parse_count
from app.storage.interface.batches import ID_BYTES
from parsers import dispatch
from parsers.framing import Damage, split
from parsers.samples import HerokuError, ParseError
from parsers.syslog_header import parse_message

ID_BYTES_MAX = 256  # of a Frame-Id or request id
_LOSS_LINES_MAX = 2
_LOSS_LINE = re.compile(
    rb"([1-9][0-9]{0,4} <172>1 )[!-~]{1,40}"
    rb"( heroku [!-~]{1,255} log-shuttle [ -D]{1,16}Error L1[23]: [ -~]{1,100}\n)"
)


def post_id(frame_id: bytes, request_id: bytes, data: bytes, start: int = 0) -> bytes:
    """The store's id of a batch whose body begins at `start` of `data`.

    It is random if the request has neither a Frame-Id nor a request id.
    """
    if frame_id or not request_id:
        return batch_id(frame_id[:ID_BYTES_MAX])
    digest = blake2b(request_id[:ID_BYTES_MAX], digest_size=ID_BYTES, person=b"request id")
    digest.update(b"\n")
    for _ in range(_LOSS_LINES_MAX):
        if not (line := _LOSS_LINE.match(data, start)):
            break
        digest.update(line[1] + line[2])
        start = line.end()
    digest.update(memoryview(data)[start:])
    return digest.digest()


def unreported_loss(headers: Mapping[bytes, bytes], body: bytes) -> int:
    """How many more messages the headers report as lost than the first lines of the body do.

    Those of the lines are counted where the lines are.
    """
    messages = sum(parse_count(headers.get(name, b"")) for name in (DROP_COUNT, LOST_COUNT))
    if not messages:
        return 0
    for frame in islice(split(body), _LOSS_LINES_MAX):
        messages -= _reported_loss(frame)
    return max(0, messages)


def _reported_loss(frame: bytes | Damage) -> int:
    if isinstance(frame, Damage):
        return 0
    try:
        sample = dispatch.parse(parse_message(frame))
    except ParseError:
        return 0
    return sample.lost_messages if isinstance(sample, HerokuError) else 0
