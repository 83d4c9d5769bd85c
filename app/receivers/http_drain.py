"""POST /drain: a batch of log lines comes in, and is answered when it is stored.

A raw ASGI app beside FastAPI, because this is the hot path (a third of the cost of a FastAPI
route). How Logplex reads the answers decides what may be said:

    200  stored. With Content-Length: 0: Logplex's published client cannot read a chunked body.
    401  the credentials are wrong.    408  the body takes too long.    413  it is too large.
         Final for Logplex: it drops the batch.
    503  nothing could take the batch within the wait. Logplex makes its three tries back to back,
         so this is the last resort: a batch is held for seconds before it is refused.

Nothing that the body says leads to anything but 200: lines that cannot be read are counted in the
ledger.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import lru_cache

from app.access.drain_registry import APP_NAME_RULE, DrainRegistry, valid_app
from app.access.rejected_logins import RejectedLogins
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.coalesced_batch import DrainKey, DrainPost
from app.ingest.drain_loop import DrainLoopDetector
from app.ingest.group_commit import BatchCommitter, OnResult
from app.ingest.received_batch import ReceivedBatch, batch_id
from app.receivers.http_fast_path import RETRY_AFTER_S
from app.receivers.request_body import CLOSE, BodyLimiter, BodyRejected
from app.receivers.request_head import DRAIN, FRAME_ID, MSG_COUNT, REPLAY, DrainRequestHead, number
from app.rollup.rollup import CardinalityLimits
from app.storage.interface import StoreUnavailable, random_bytes
from app.support.asgi import Receive, Scope, Send, basic_credentials, header, respond
from app.support.loopback import is_loopback

REPLAY_PAST_S = 7 * 86_400  # how old lines may be that are replayed on purpose
FRAME_ID_BYTES_MAX = 256
AT_ONCE_BYTES_MAX = 2**20  # about 2 ms
SENDERS_REMEMBERED = 4_096
DRAIN_TOKEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")  # Heroku's are "d." and a UUID


class DrainRejected(Exception):
    """The request is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class DrainEndpoint:
    """The drain, as an ASGI app."""

    def __init__(
        self,
        *,
        committer: BatchCommitter,
        drains: DrainRegistry | None,
        rejected_logins: RejectedLogins,
        loop_detector: DrainLoopDetector,
        acceptance: AcceptanceWindow,
        limits: CardinalityLimits,
        bodies: BodyLimiter,
        body_bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            drains: the registered secrets; None in local mode, where any credentials do.
        """
        self._committer = committer
        self._drains = drains
        self._rejected_logins = rejected_logins
        self._loop_detector = loop_detector
        self._acceptance = acceptance
        self._replay_horizon = AcceptanceWindow(
            max(acceptance.past_s, REPLAY_PAST_S), acceptance.future_s
        )
        self._limits = limits
        self._bodies = bodies
        self.body_within_s = bodies.within_s
        self.release = bodies.release
        self._body_bytes_max = body_bytes_max
        self._at_once_bytes_max = min(AT_ONCE_BYTES_MAX, body_bytes_max)
        self._clock = clock
        self._slow: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope["method"] != "POST":
                raise DrainRejected(
                    405, "This is a log drain: it takes POST from Heroku's Logplex."
                )
            app, generation = await self._authenticate(scope)
            reading = self._bodies.body(scope["headers"], receive, self._body_bytes_max)
            async with reading as body:
                if body is None:  # the sender went away
                    return
                if body:
                    first_of = dict(reversed(scope["headers"]))  # of a header twice, the first
                    sender = _sender(app, generation, first_of.get(DRAIN, b""))
                    acceptance = self._replay_horizon if REPLAY in first_of else self._acceptance
                    promised = number(first_of.get(MSG_COUNT, b""))
                    frame_id = first_of.get(FRAME_ID, b"")
                    await self._take(sender, frame_id, promised, body, acceptance)
        except DrainRejected as refusal:
            extra = {401: _WWW_AUTHENTICATE, 405: _ALLOW_POST}
            await respond(send, refusal.status, f"{refusal}\n", extra[refusal.status])
        except BodyRejected as refusal:
            headers = [CLOSE, (b"retry-after", RETRY_AFTER_S)]
            await respond(send, refusal.status, f"{refusal}\n", headers)
        except StoreUnavailable as error:
            await respond(send, 503, f"{error}\n", [(b"retry-after", RETRY_AFTER_S)])
        else:
            await respond(send, 200)

    async def _authenticate(self, scope: Scope) -> tuple[str, int]:
        """The app's name, and the generation of its secret."""
        credentials = basic_credentials(header(scope["headers"], b"authorization"))
        if self._drains is not None:
            generation = await self._drains.verify(*credentials) if credentials else 0
            if not credentials or not generation:
                why = (
                    self._drains.rejection_reason(*credentials) if credentials else "no credentials"
                )
                token = header(scope["headers"], DRAIN).decode("latin-1")
                self._rejected_logins.add(credentials[0] if credentials else "", token, why)
                raise DrainRejected(
                    401, "Unknown app or wrong drain secret: see 'dynometer drains'."
                )
            return credentials[0], generation
        token = header(scope["headers"], DRAIN).decode("latin-1")
        app = credentials[0] if credentials and credentials[0] else token
        if not valid_app(app):
            raise DrainRejected(
                401,
                "Name the app as the user of Basic auth (http://APP:any@…/drain), "
                f"or send Logplex-Drain-Token. Names: {APP_NAME_RULE}.",
            )
        return app, 1

    async def _take(
        self,
        sender: DrainKey,
        frame_id: bytes,
        promised: int,
        body: bytes,
        acceptance: AcceptanceWindow,
    ) -> None:
        """Aggregate and commit a body; returns when it is safe."""
        self._loop_detector.inspect(sender.app, body)
        aggregator = Aggregator(self._clock(), acceptance, self._limits)
        if promised:
            aggregator.add_promised(promised)
        for _ in aggregator.turns(body):
            await asyncio.sleep(0)
        app, drain, generation = sender
        await self._committer.commit(
            ReceivedBatch(app, _id_of(frame_id), aggregator.build_body(), drain, generation)
        )

    # --- the same at once: see app.receivers.http_fast_path ---------------------------------

    def try_admit(self, head: DrainRequestHead) -> DrainKey | None:
        """See drain_cycle.AtOnce."""
        if head.body_bytes > self._at_once_bytes_max:
            return None
        sender = self._known(head)
        if sender is None or not self._bodies.take_at_once(head.body_bytes):
            return None
        return sender

    def _known(self, head: DrainRequestHead) -> DrainKey | None:
        """Who sends; None where that cannot be told at once."""
        if self._drains is None:
            return _local_sender(head.authorization, head.host, head.drain)
        credentials = basic_credentials(head.authorization)
        if credentials is None:
            return None
        generation = self._drains.verify_cached(*credentials)
        return _sender(credentials[0], generation, head.drain) if generation else None

    def submit_body(
        self, sender: DrainKey, head: DrainRequestHead, data: bytes, start: int, settle: OnResult
    ) -> None:
        """See drain_cycle.AtOnce."""
        self._loop_detector.inspect(sender.app, data, start)
        post = DrainPost(_id_of(head.frame_id), random_bytes(), data, head.promised, start)
        try:
            if self._committer.submit(sender, post, settle):
                return
        except Exception as defect:  # of ours, and this POST's alone
            settle(defect)
        else:
            task = asyncio.get_running_loop().create_task(
                self._take_slowly(sender, head, data[start:], settle)
            )
            self._slow.add(task)
            task.add_done_callback(self._slow.discard)

    async def _take_slowly(
        self, sender: DrainKey, head: DrainRequestHead, body: bytes, settle: OnResult
    ) -> None:
        """The same where it has to wait for room."""
        try:
            await self._take(sender, head.frame_id, head.promised, body, self._acceptance)
        except Exception as error:
            settle(error)
        else:
            settle(True)


@lru_cache(SENDERS_REMEMBERED)
def _sender(app: str, generation: int, token: bytes) -> DrainKey:
    return DrainKey(app, token.decode() if DRAIN_TOKEN.fullmatch(token) else "", generation)


def _id_of(frame_id: bytes) -> bytes:
    return batch_id(frame_id[:FRAME_ID_BYTES_MAX])


@lru_cache(SENDERS_REMEMBERED)
def _local_sender(authorization: bytes, host: bytes, token: bytes) -> DrainKey | None:
    """Whom a request names where secrets are not asked for; None for nobody, or when it was not
    sent to this machine.
    """
    credentials = basic_credentials(authorization)
    if credentials is None or not is_loopback(host.decode("latin-1")):
        return None
    return _sender(credentials[0], 1, token) if valid_app(credentials[0]) else None


_WWW_AUTHENTICATE = [(b"www-authenticate", b'Basic realm="Dynometer drain"')]
_ALLOW_POST = [(b"allow", b"POST")]
