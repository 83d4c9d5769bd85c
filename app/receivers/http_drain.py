"""POST /drain: accepts a batch of log lines, and answers once it is stored.

This is a raw ASGI app next to FastAPI, because it is the hot path: it costs a third of a FastAPI
route. The possible answers follow from how Logplex reads them:

    200  The batch is stored. With Content-Length: 0, because Logplex's published client cannot read
         a chunked body. A replay or simulation gets an account of its lines in a header.
    401  The credentials are wrong (in local mode: no valid app name).    405  Not a POST.
    408  The body takes too long.    413  It is too large.
         Final for Logplex: it drops the batch. In local mode, 403 answers other machines.
    500  A defect. Logplex sends the batch again.
    503  The batch could not be stored within the wait. Logplex makes its three attempts back to
         back, so this is the last resort: a batch is held for seconds before it is rejected.

No contents of a body lead to any other answer than 200: lines that cannot be parsed are counted in
the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import msgspec

from app.access.drain_registry import APP_NAME_RULE, DrainRegistry, valid_app
from app.access.rejected_logins import RejectedLogins
from app.ingest.aggregator import FRAMES_PER_STEP, AcceptanceWindow
from app.ingest.drain_loop import DrainLoopDetector
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import BatchCommitter, OnResult, commit
from app.ingest.marked_post import MarkedCommitter
from app.query.delivery import encode_delivery
from app.receivers.body_budget import BodyRejected
from app.receivers.connection_guard import SENDER
from app.receivers.log_shuttle import post_id, unreported_loss
from app.receivers.request_body import CLOSE, BodyLimiter
from app.receivers.request_head import (
    DRAIN,
    FRAME_ID,
    MSG_COUNT,
    REPLAY,
    REQUEST_ID,
    SIMULATION,
    DrainRequestHead,
    parse_count,
)
from app.receivers.space_drain import SpaceBody
from app.storage.interface import apps
from app.storage.interface.apps import DRAIN as REAL_DRAIN
from app.storage.interface.apps import Origin
from app.storage.interface.elements import random_bytes
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.support.aio import wait_for_all
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
from app.support.loopback import HOST_LENGTH_MAX, is_loopback
from parsers.framing import split_in_steps

log = logging.getLogger(__name__)

RETRY_AFTER_S = b"5"
ACCOUNT = b"dynometer-account"  # of an answer: JSON, app.query.delivery
KEY_CACHE_SIZE = 4_096
LOCAL_CREDENTIALS_BYTES_MAX = 256  # on the fast path, which caches them
DRAIN_TOKEN_BYTES_MAX = 64  # Heroku's are "d." and a UUID
_DRAIN_TOKEN_BYTES = re.compile(rb"[A-Za-z0-9._-]+")


class DrainRejected(Exception):
    """The request is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = _REJECTION_HEADERS.get(status, [])


class DrainEndpoint:
    """The drain, as an ASGI app and for the cycles of app.receivers.http_fast_path."""

    def __init__(
        self,
        *,
        committer: BatchCommitter,
        marked_committer: MarkedCommitter,
        drains: DrainRegistry | None,
        rejected_logins: RejectedLogins,
        loop_detector: DrainLoopDetector,
        acceptance: AcceptanceWindow,
        reads_marks: Callable[[str], bool],
        body_limiter: BodyLimiter,
        body_bytes_max: int,
    ) -> None:
        """
        Args:
            drains: the registered secrets; None in local mode, which accepts any credentials.
            reads_marks: whether custom metrics are on for an app.
        """
        self._committer = committer
        self._marked_committer = marked_committer
        self._drains = drains
        self._rejected_logins = rejected_logins
        self._loop_detector = loop_detector
        self._acceptance = acceptance
        self._reads_marks = reads_marks
        self._body_limiter = body_limiter
        self.body_timeout_s = body_limiter.timeout_s
        self.body_budget = body_limiter.senders
        self.budget_timeout_s = body_limiter.budget_timeout_s
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        account: list[tuple[bytes, bytes]] = []
        try:
            if scope["method"] != "POST":
                raise DrainRejected(
                    405, "This is a log drain. It only accepts POST requests from Heroku's Logplex."
                )
            credentials = basic_credentials(header(scope["headers"], b"authorization"))
            app, generation = await self.authenticate(scope, credentials)
            recognize(scope, SENDER, app)
            body_context = self._body_limiter.read(
                scope["headers"], receive, self._body_bytes_max, self.body_budget, app
            )
            async with body_context as body:
                if body is None:  # the sender has disconnected
                    return
                if body:
                    headers = dict(reversed(scope["headers"]))  # the first one of a repeated header
                    origin = _origin(headers)
                    acceptance = self._acceptance
                    if origin.kind == apps.REPLAY:
                        acceptance = acceptance.for_replay()
                    # A batch without a token always counts, beside the app's own drain.
                    token = headers.get(DRAIN, b"") if origin.is_drain else b""
                    key = self._with_switch(_drain_key(app, generation, token, acceptance))
                    self._loop_detector.inspect(app, body)
                    post = _post(key, headers, body)
                    if not origin.is_drain:
                        delivery = await self._marked_committer.commit(post, origin)
                        account = [(ACCOUNT, encode_delivery(delivery))]
                    elif self._drains is not None and self._drains.apps_of_space(app):
                        await self._commit_for_space(self._drains, post, body)
                    else:
                        await commit(self._committer, post)
        except DrainRejected as rejection:
            await respond(send, rejection.status, str(rejection), rejection.headers)
        except BodyRejected as rejection:
            extra_headers = [CLOSE, (b"retry-after", RETRY_AFTER_S)]
            await respond(send, rejection.status, str(rejection), extra_headers)
        except StoreUnavailable as error:
            text = without_addresses(str(error))
            await respond(send, 503, text, [(b"retry-after", RETRY_AFTER_S)])
        except Exception:
            log.exception("Answered a POST to the drain with 500 because of a defect")
            await respond(send, 500, DEFECT)
        else:
            await respond(send, 200, headers=account)

    async def _commit_for_space(self, drains: DrainRegistry, post: DrainPost, body: bytes) -> None:
        """Commit the lines of a space-level drain, each for its own app.

        Each part has the id of the whole, so a repeated POST counts once for each app.

        Raises:
            StoreUnavailable: as `commit`. The sender repeats the POST, also for the other apps.
        """
        space = post.key.app
        space_body = SpaceBody(partial(drains.app_in_space, space))
        for step in split_in_steps(body, FRAMES_PER_STEP):
            for frame in step:
                space_body.add(frame)
            await asyncio.sleep(0)
        for hostname, messages in space_body.unlisted_hostnames.items():
            self._rejected_logins.add_unlisted(space, hostname, messages)
        portions = space_body.portions(post.msg_count, post.lost_count)
        posts = [
            msgspec.structs.replace(
                post,
                key=self._with_switch(post.key._replace(app=app or space)),
                token=random_bytes(),
                content=portion.frames,
                msg_count=portion.msg_count,
                lost_count=portion.lost_count,
            )
            for app, portion in portions.items()
        ]
        await wait_for_all(commit(self._committer, part) for part in posts)

    async def authenticate(
        self, scope: Scope, credentials: tuple[str, str] | None
    ) -> tuple[str, int]:
        """The app's name, and the generation of its secret.

        Raises:
            DrainRejected: 401, the credentials are wrong.
        """
        if self._drains is not None:
            generation = await self._drains.verify(*credentials) if credentials else 0
            if not credentials or not generation:
                reason = (
                    self._drains.rejection_reason(*credentials) if credentials else "no credentials"
                )
                token = header(scope["headers"], DRAIN).decode("latin-1")
                self._rejected_logins.add(credentials[0] if credentials else "", token, reason)
                raise DrainRejected(
                    401, "Unknown app or wrong drain secret. List the drains: dynometer drains list"
                )
            return credentials[0], generation
        token = header(scope["headers"], DRAIN).decode("latin-1")
        app = credentials[0] if credentials and credentials[0] else token
        if not valid_app(app):
            raise DrainRejected(
                401,
                "No valid app name. Send it as the user of Basic auth (http://APP:any@…/drain), "
                f"or send Logplex-Drain-Token. Names: {APP_NAME_RULE}.",
            )
        return app, 1

    # --- the fast path: see app.receivers.http_fast_path ------------------------------------

    def try_admit(self, head: DrainRequestHead, arrived_bytes: int) -> DrainKey | None:
        """Authenticate a request, and take the memory for the part of its body that has arrived.

        None if the request is uncommon or cannot be decided immediately; then nothing is taken.
        """
        if head.body_bytes > self._body_bytes_max:
            return None
        key = self._cached_key(head)
        if key is None or not self.body_budget.try_take(key.app, arrived_bytes):
            return None
        return key

    def _cached_key(self, head: DrainRequestHead) -> DrainKey | None:
        """The drain of a request; None if that cannot be decided without I/O."""
        if self._drains is None:
            key = _local_drain_key(head.authorization, head.host, head.drain, self._acceptance)
            return key and self._with_switch(key)
        credentials = basic_credentials(head.authorization)
        if credentials is None:
            return None
        generation = self._drains.verify_cached(*credentials)
        if not generation:
            return None
        key = _drain_key(credentials[0], generation, head.drain, self._acceptance)
        return self._with_switch(key)

    def _with_switch(self, key: DrainKey) -> DrainKey:
        return key._replace(reads_marks=True) if self._reads_marks(key.app) else key

    def submit_body(
        self, key: DrainKey, head: DrainRequestHead, data: bytes, start: int, on_result: OnResult
    ) -> int:
        """Commit the body that begins at `start` of `data`, as BatchCommitter.submit."""
        self._loop_detector.inspect(key.app, data, start)
        body_id = post_id(head.frame_id, head.request_id, data, start)
        post = DrainPost(key, body_id, random_bytes(), data, head.msg_count, start)
        return self._committer.submit(post, on_result)


def _drain_key(app: str, generation: int, token: bytes, acceptance: AcceptanceWindow) -> DrainKey:
    drain = token if len(token) <= DRAIN_TOKEN_BYTES_MAX else b""
    return _cached_drain_key(app, generation, drain, acceptance)


@lru_cache(KEY_CACHE_SIZE)
def _cached_drain_key(
    app: str, generation: int, drain: bytes, acceptance: AcceptanceWindow
) -> DrainKey:
    """The same object for equal arguments, all of which are short."""
    is_valid = _DRAIN_TOKEN_BYTES.fullmatch(drain) is not None
    return DrainKey(app, drain.decode() if is_valid else "", generation, acceptance)


def _origin(headers: Mapping[bytes, bytes]) -> Origin:
    """Where the lines of a request come from, as its headers say."""
    for name, kind in ((REPLAY, apps.REPLAY), (SIMULATION, apps.SIMULATION)):
        if name in headers:
            return Origin(kind, notifies=headers[name] == b"alert")
    return REAL_DRAIN


def _post(key: DrainKey, headers: Mapping[bytes, bytes], body: bytes) -> DrainPost:
    return DrainPost(
        key,
        post_id(headers.get(FRAME_ID, b""), headers.get(REQUEST_ID, b""), body),
        random_bytes(),
        body,
        parse_count(headers.get(MSG_COUNT, b"")),
        lost_count=unreported_loss(headers, body),
    )


def _local_drain_key(
    authorization: bytes, host: bytes, token: bytes, acceptance: AcceptanceWindow
) -> DrainKey | None:
    """The drain that a request names in local mode.

    None if it names no app by Basic auth, or was not sent to this machine.
    """
    if len(authorization) > LOCAL_CREDENTIALS_BYTES_MAX or len(host) > HOST_LENGTH_MAX:
        return None
    app = _local_app(authorization, host)
    return _drain_key(app, 1, token, acceptance) if app else None


@lru_cache(KEY_CACHE_SIZE)
def _local_app(authorization: bytes, host: bytes) -> str:
    """The app that short credentials name in local mode; "" for none, or another machine's host."""
    credentials = basic_credentials(authorization)
    if credentials is None or not valid_app(credentials[0]):
        return ""
    return credentials[0] if is_loopback(host.decode("latin-1")) else ""


_REJECTION_HEADERS = {
    401: [(b"www-authenticate", b'Basic realm="Dynometer drain"')],
    405: [(b"allow", b"POST")],
}
