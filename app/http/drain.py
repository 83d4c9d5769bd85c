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
from collections.abc import Awaitable, Callable

from app.aggregate import Aggregator
from app.arrival import Arrival, batch_id
from app.commit import Committer
from app.http.body import CLOSE, Bodies, BodyRefused
from app.http.gate import Receive, Scope, Send, basic_credentials, header, respond
from app.ingest import Horizon
from app.own_drain import OwnDrain
from app.refusals import Refusals
from app.registry import APP_NAME_RULE, Drains, valid_app
from app.rollup import Caps
from app.store.port import StoreUnavailable

REPLAY_PAST_S = 7 * 86_400  # how old lines may be that are replayed on purpose
MSG_COUNT_DIGITS_MAX = 7
FRAME_ID_BYTES_MAX = 256
RETRY_AFTER_S = b"5"
DRAIN_TOKEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")  # Heroku's are "d." and a UUID


class Refused(Exception):
    """The request is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class DrainEndpoint:
    """The drain, as an ASGI app."""

    def __init__(
        self,
        *,
        committer: Committer,
        on_stored: Callable[[Arrival], Awaitable[None]],
        drains: Drains | None,
        refusals: Refusals,
        own_drain: OwnDrain,
        horizon: Horizon,
        caps: Caps,
        bodies: Bodies,
        body_bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            on_stored: told each arrival that the store has taken.
            drains: the registered secrets; None in local mode, where any credentials do.
        """
        self._committer = committer
        self._on_stored = on_stored
        self._drains = drains
        self._refusals = refusals
        self._own_drain = own_drain
        self._horizon = horizon
        self._replay_horizon = Horizon(max(horizon.past_s, REPLAY_PAST_S), horizon.future_s)
        self._caps = caps
        self._bodies = bodies
        self._body_bytes_max = body_bytes_max
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope["method"] != "POST":
                raise Refused(405, "This is a log drain: it takes POST from Heroku's Logplex.")
            app, generation = await self._authenticate(scope)
            reading = self._bodies.body(scope["headers"], receive, self._body_bytes_max)
            async with reading as body:
                if body is None:  # the sender went away
                    return
                if body:
                    await self._take(app, generation, scope, body)
        except Refused as refusal:
            extra = {401: _WWW_AUTHENTICATE, 405: _ALLOW_POST}
            await respond(send, refusal.status, f"{refusal}\n", extra[refusal.status])
        except BodyRefused as refusal:
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
                why = self._drains.why_refused(*credentials) if credentials else "no credentials"
                token = header(scope["headers"], b"logplex-drain-token").decode("latin-1")
                self._refusals.add(credentials[0] if credentials else "", token, why)
                raise Refused(401, "Unknown app or wrong drain secret: see 'dynometer drains'.")
            return credentials[0], generation
        token = header(scope["headers"], b"logplex-drain-token").decode("latin-1")
        app = credentials[0] if credentials and credentials[0] else token
        if not valid_app(app):
            raise Refused(
                401,
                "Name the app as the user of Basic auth (http://APP:any@…/drain), "
                f"or send Logplex-Drain-Token. Names: {APP_NAME_RULE}.",
            )
        return app, 1

    async def _take(self, app: str, generation: int, scope: Scope, body: bytes) -> None:
        """Aggregate and commit a body; returns when it is safe."""
        headers = scope["headers"]
        self._own_drain.look(app, body)
        replayed = header(headers, b"dynometer-replay") != b""
        horizon = self._replay_horizon if replayed else self._horizon
        aggregator = Aggregator(self._clock(), horizon, self._caps)
        promised = header(headers, b"logplex-msg-count")
        if promised.isdigit() and len(promised) <= MSG_COUNT_DIGITS_MAX:
            aggregator.add_promised(int(promised))
        for _ in aggregator.turns(body):
            await asyncio.sleep(0)
        frame_id = header(headers, b"logplex-frame-id")[:FRAME_ID_BYTES_MAX]
        drain = header(headers, b"logplex-drain-token")
        arrival = Arrival(
            app,
            batch_id(frame_id),
            aggregator.parts(),
            drain=drain.decode() if DRAIN_TOKEN.fullmatch(drain) else "",
            generation=generation,
        )
        if await self._committer.commit(arrival):
            await self._on_stored(arrival)


_WWW_AUTHENTICATE = [(b"www-authenticate", b'Basic realm="Dynometer drain"')]
_ALLOW_POST = [(b"allow", b"POST")]
