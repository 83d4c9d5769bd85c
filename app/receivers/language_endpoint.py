"""POST /language/{dyno}: accepts metrics of language runtimes, and answers once they are stored.

Heroku's reporters send them: agentmon, which reads StatsD and Prometheus, and the collector of the
Node.js buildpack. A raw ASGI app, as the drain, because it takes the credentials of the drain. The
collector sends nothing of its address but the path, so credentials may stand there, too:
/language/{app}/{secret}/{dyno}.

    200  The metrics are stored. The collector counts no other status as success.
    401  The credentials are wrong.    404  The path names no dyno.    405  Not a POST.
    408, 413, 503  As for the drain.

These senders give no id, and agentmon repeats a report after some errors. So these metrics count at
least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from app.ingest.aggregator import NO_ACTIVITY, AcceptanceWindow, AggregatedBody
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import BatchCommitter, commit
from app.receivers.body_budget import BodyRejected
from app.receivers.connection_guard import SENDER
from app.receivers.http_drain import RETRY_AFTER_S, DrainEndpoint, DrainRejected
from app.receivers.request_body import CLOSE, BodyLimiter
from app.rollup.accelerated import FastRollup
from app.rollup.open_limits import DROPPED
from app.rollup.resolutions import MINUTE_S, align
from app.rollup.rollup import CardinalityLimits, Rollup
from app.storage.interface.elements import random_bytes
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.support.asgi import (
    DEFECT,
    Receive,
    Scope,
    Send,
    basic_credentials,
    header,
    recognize,
    respond,
)
from parsers.custom_marks import dyno_source
from parsers.language_metrics import parse
from parsers.samples import LanguageMetrics

log = logging.getLogger(__name__)

PATH = "/language/"
PARTS_WITH_CREDENTIALS = 3  # app, secret and dyno
BODY_BYTES_MAX = 64 * 1024  # some hundred metrics
_TIME = b"measurements-time"
_MS = 1000


class LanguageEndpoint:
    """The ASGI app. `drain` checks the credentials."""

    def __init__(
        self,
        drain: DrainEndpoint,
        committer: BatchCommitter,
        body_limiter: BodyLimiter,
        acceptance: AcceptanceWindow,
        limits: CardinalityLimits,
        clock: Callable[[], float],
    ) -> None:
        self._drain = drain
        self._committer = committer
        self._body_limiter = body_limiter
        self._acceptance = acceptance
        self._limits = limits
        self._clock = clock
        # One report at a time, in two turns of the event loop: many of them delay no batch by more
        # than half of one.
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._accept(scope, receive)
        except DrainRejected as rejection:
            await respond(send, rejection.status, str(rejection), rejection.headers)
        except BodyRejected as rejection:
            headers = [CLOSE, (b"retry-after", RETRY_AFTER_S)]
            await respond(send, rejection.status, str(rejection), headers)
        except StoreUnavailable as error:
            text = without_addresses(str(error))
            await respond(send, 503, text, [(b"retry-after", RETRY_AFTER_S)])
        except Exception:
            log.exception("Answered a POST to /language with 500 because of a defect")
            await respond(send, 500, DEFECT)
        else:
            await respond(send, 200)

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        """Store the metrics of a request.

        Raises:
            DrainRejected, BodyRejected, StoreUnavailable
        """
        if scope["method"] != "POST":
            raise DrainRejected(405, "This address only accepts POST requests with metrics.")
        credentials, dyno = _address(scope)
        app, generation = await self._drain.authenticate(scope, credentials)
        recognize(scope, SENDER, app)
        source = dyno_source(dyno.encode())
        if source is None:
            raise DrainRejected(404, "The path names no dyno. It ends in /$DYNO.")
        body_context = self._body_limiter.read(
            scope["headers"], receive, BODY_BYTES_MAX, self._body_limiter.senders, app
        )
        async with body_context as body:
            if not body:
                return
            async with self._turn:
                metrics = parse(source, body)
                await asyncio.sleep(0)
                at_s = _time_of(header(scope["headers"], _TIME)) or self._clock()
                content = self._aggregate(metrics, at_s)
                await asyncio.sleep(0)
            key = DrainKey(app, "", generation, self._acceptance)
            await commit(self._committer, DrainPost(key, random_bytes(), random_bytes(), content))

    def _aggregate(self, metrics: LanguageMetrics, at_s: float) -> AggregatedBody:
        now_s = self._clock()
        if not now_s - self._acceptance.past_s <= at_s <= now_s + self._acceptance.future_s:
            metrics = metrics._replace(marks=(), unread=metrics.unread + len(metrics.marks))
        rollup = Rollup()
        rollup.observe(metrics, int(at_s * _MS))
        ledger = {DROPPED + "language": metrics.unread} if metrics.unread else {}
        rollup.ledger = {}
        fast_rollup = FastRollup()
        fast_rollup.add(rollup)
        minute = align(int(at_s), MINUTE_S)
        return AggregatedBody(
            int(now_s), {minute: fast_rollup}, {minute: {}}, ledger, NO_ACTIVITY, self._limits
        )


def _address(scope: Scope) -> tuple[tuple[str, str] | None, str]:
    """The credentials and the dyno of a request."""
    parts = scope["path"].removeprefix(PATH).split("/")
    if len(parts) == PARTS_WITH_CREDENTIALS:
        app, secret, dyno = parts
        return (app, secret), dyno
    return basic_credentials(header(scope["headers"], b"authorization")), "/".join(parts)


def _time_of(text: bytes) -> float:
    """Unix seconds of a time with an offset, as RFC 3339 writes it; 0 for anything else."""
    try:
        at = datetime.fromisoformat(text.decode())
    except ValueError:
        return 0
    return at.timestamp() if at.tzinfo is not None else 0
