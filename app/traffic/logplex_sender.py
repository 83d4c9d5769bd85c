"""Sends frames to a drain exactly as Heroku's Logplex does, weaknesses included.

    buffer   1,024 messages per drain; a new message pushes the oldest out of a full buffer. The
             buffer shrinks to 10 after 5 minutes without a success, until the next success
    POST     whole frames up to 102,400 bytes; one POST in flight, the next follows its answer
    2xx      delivered
    4xx      final: the batch is dropped without a retry (429 is treated like 5xx)
    others   and no answer within 5 s: the batch is sent again, three tries in all, back to back
    refused  a connection that cannot be made costs no try; delays grow from 10 ms to about 5 s
    L10      a frame before the batch reports dropped messages; it is rebuilt for each try

The numbers come from Logplex's published source. Retries carry the Logplex-Frame-Id of the first
try.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2

from app.traffic.simulated_lines import SimulatedLine, l10_frame

USER_AGENT = "Logplex/v73"
LATENCIES_MAX = 1_000
_BACKOFF_DOUBLINGS_MAX = 10


@dataclass(frozen=True, slots=True)
class LogplexBehaviour:
    """Logplex's limits and delays."""

    buffer_messages_max: int = 1_024
    shrink_after_s: float = 300.0
    shrunk_messages_max: int = 10
    body_bytes: int = 102_400  # per POST; a larger frame is sent alone
    tries: int = 3
    connect_within_s: float = 3.0
    answer_within_s: float = 5.0
    backoff_s: float = 0.01


LOGPLEX = LogplexBehaviour()


class AcknowledgedBatch(NamedTuple):
    """A batch that the drain acknowledged.

    `announced_lost` is the number of lost messages that its L10 frame reported, 0 without one.
    """

    lines: Sequence[SimulatedLine]
    announced_lost: int


class DroppedBatch(NamedTuple):
    """A batch that the sender dropped.

    `is_certainly_lost` means that the drain cannot have stored it.
    """

    lines: Sequence[SimulatedLine]
    is_certainly_lost: bool


@dataclass(slots=True)
class DeliveryCounts:
    """Numbers of messages and POSTs so far, by outcome."""

    offered_messages: int = 0  # added to the buffer
    posts: int = 0  # tries that reached the drain
    failed_connections: int = 0
    acknowledged_messages: int = 0  # without the L10 frames that Logplex adds
    overflowed_messages: int = 0  # pushed out of the buffer
    rejected_messages: int = 0  # of batches answered 4xx
    abandoned_messages: int = 0  # of batches that failed every try
    unanswered_messages: int = 0  # of tries without an answer: the drain may have stored them
    last_problem: str = ""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_MAX))

    @property
    def lost_messages(self) -> int:
        """Messages that the drain never acknowledged and never will."""
        return self.overflowed_messages + self.rejected_messages + self.abandoned_messages


class LogplexSender:
    """Sends the lines of one app to one drain while `run` runs."""

    def __init__(
        self,
        url: str,
        drain_token: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        behaviour: LogplexBehaviour = LOGPLEX,
        on_acknowledged: Callable[[AcknowledgedBatch], None] = lambda batch: None,
        on_dropped: Callable[[DroppedBatch], None] = lambda batch: None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            url: the drain's URL as registered at Heroku, with credentials.
            headers: further headers, which Logplex does not send.
            transport: replaces the network.
        """
        self.counts = DeliveryCounts()
        self._url, self._host, self._authorization = _split_credentials(url)
        self._drain_token = drain_token
        self._headers = headers
        self._behaviour = behaviour
        self._on_acknowledged = on_acknowledged
        self._on_dropped = on_dropped
        self._transport = transport
        self._clock = clock
        self._client = self._new_client()
        self._buffer: deque[SimulatedLine] = deque()
        self._buffer_changed = asyncio.Event()
        self._is_closing = False
        self._last_success_s = clock()
        self._unannounced_losses = 0  # messages that no delivered L10 frame has reported
        self._losses_since_s = 0.0

    @property
    def buffered_messages(self) -> int:
        """Messages in the buffer."""
        return len(self._buffer)

    def offer(self, line: SimulatedLine) -> None:
        """Buffer a line. If the buffer is full, its oldest line is lost."""
        while len(self._buffer) >= self._capacity:
            self._buffer.popleft()
            self.counts.overflowed_messages += 1
            self._record_loss(1)
        self._buffer.append(line)
        self.counts.offered_messages += 1
        self._buffer_changed.set()

    async def offer_when_free(self, line: SimulatedLine) -> None:
        """Wait for space in the buffer, then add the line. For past lines, which can wait."""
        while len(self._buffer) >= self._capacity:
            self._buffer_changed.clear()
            await self._buffer_changed.wait()
        self.offer(line)

    @property
    def _capacity(self) -> int:
        is_shrunk = self._clock() - self._last_success_s > self._behaviour.shrink_after_s
        return (
            self._behaviour.shrunk_messages_max
            if is_shrunk
            else self._behaviour.buffer_messages_max
        )

    def close(self) -> None:
        """Let `run` return once every buffered line is delivered or lost."""
        self._is_closing = True
        self._buffer_changed.set()

    async def run(self) -> None:
        """Send until the sender is closed and its buffer is empty."""
        try:
            while True:
                if self._buffer:
                    await self._deliver(self._next_batch())
                elif self._is_closing:
                    return
                else:
                    self._buffer_changed.clear()
                    await self._buffer_changed.wait()
        finally:
            await self._client.aclose()

    def _next_batch(self) -> list[SimulatedLine]:
        batch = [self._buffer.popleft()]
        size = len(batch[0].frame)
        while self._buffer and size + len(self._buffer[0].frame) <= self._behaviour.body_bytes:
            batch.append(self._buffer.popleft())
            size += len(batch[-1].frame)
        self._buffer_changed.set()
        return batch

    async def _deliver(self, batch: list[SimulatedLine]) -> None:
        frame_id = os.urandom(16).hex().upper()
        failed_connections = 0
        is_certainly_lost = True
        remaining_tries = self._behaviour.tries
        while remaining_tries:
            losses, since_s = self._unannounced_losses, self._losses_since_s
            frames = [line.frame for line in batch]
            if losses:
                frames.insert(0, l10_frame(self._clock(), losses, since_s))
            status = await self._post(frames, frame_id)
            if status is None:
                failed_connections += 1
                await asyncio.sleep(self._backoff_s(failed_connections))
                continue
            failed_connections = 0
            if 200 <= status < 300:
                self.counts.acknowledged_messages += len(batch)
                self._last_success_s = self._clock()
                self._unannounced_losses -= losses
                self._losses_since_s = self._clock()
                self._on_acknowledged(AcknowledgedBatch(batch, losses))
                return
            self.counts.last_problem = f"the drain answered {status}" if status else "no answer"
            if 400 <= status < 500 and status != 429:
                self.counts.rejected_messages += len(batch)
                self._record_loss(len(batch))
                self._on_dropped(DroppedBatch(batch, is_certainly_lost))
                return
            is_certainly_lost = False  # the drain may have stored it, even after a 5xx
            self.counts.unanswered_messages += 0 if status else len(batch)
            remaining_tries -= 1
            await self._reconnect()
        self.counts.abandoned_messages += len(batch)
        self._record_loss(len(batch))
        self._on_dropped(DroppedBatch(batch, is_certainly_lost))

    async def _post(self, frames: Sequence[bytes], frame_id: str) -> int | None:
        """POST once; returns the status, 0 without an answer, None without a connection."""
        body = b"".join(frames)
        headers = [
            ("Host", self._host),
            *([("Authorization", self._authorization)] if self._authorization else []),
            ("Content-Type", "application/logplex-1"),
            ("Logplex-Msg-Count", str(len(frames))),
            ("Logplex-Frame-Id", frame_id),
            ("Logplex-Drain-Token", self._drain_token),
            ("User-Agent", USER_AGENT),
            ("Content-Length", str(len(body))),
            *self._headers.items(),
        ]
        request = httpx2.Request("POST", self._url, headers=headers, content=body)
        request.extensions["timeout"] = self._client.timeout.as_dict()
        started_s = time.perf_counter()
        try:
            response = await self._client.send(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self.counts.failed_connections += 1
            self.counts.last_problem = str(error) or type(error).__name__
            return None
        except httpx2.TransportError:
            self.counts.posts += 1
            return 0
        self.counts.posts += 1
        self.counts.latencies_ms.append((time.perf_counter() - started_s) * 1000)
        return response.status_code

    async def _reconnect(self) -> None:
        await self._client.aclose()
        self._client = self._new_client()

    def _new_client(self) -> httpx2.AsyncClient:
        behaviour = self._behaviour
        return httpx2.AsyncClient(
            verify=_tls(),
            trust_env=False,
            transport=self._transport,
            timeout=httpx2.Timeout(behaviour.answer_within_s, connect=behaviour.connect_within_s),
        )

    def _backoff_s(self, failed_connections: int) -> float:
        doublings = random.randint(1, min(_BACKOFF_DOUBLINGS_MAX, failed_connections))
        return self._behaviour.backoff_s * ((1 << doublings) - 1) / 2

    def _record_loss(self, messages: int) -> None:
        if not self._unannounced_losses:
            self._losses_since_s = self._clock()
        self._unannounced_losses += messages


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Cached, because it takes 20 ms and there may be hundreds of drains."""
    return httpx2.create_ssl_context(trust_env=False)


def _split_credentials(url: str) -> tuple[str, str, str]:
    """(URL without credentials, Host, Authorization) of a URL.

    As in Logplex, a user without a password gets an empty password.
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    if not credentials:
        return bare, host, ""
    user, _, password = credentials.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return bare, host, f"Basic {base64.b64encode(pair).decode()}"
