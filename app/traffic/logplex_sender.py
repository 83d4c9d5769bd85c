"""Sends frames to a drain as Heroku's Logplex does, good habits and bad.

    buffer   1,024 messages a drain; a message that finds it full pushes the oldest out; 10 after
             5 minutes without success, until the next
    POST     whole frames up to 102,400 bytes, one POST in flight, the next as soon as it is
    answered
    2xx      delivered
    4xx      final: the batch is dropped at once (but 429 is like 5xx)
    others   and no answer within 5 s: the batch is sent again, three tries in all, back to back
    refused  a connection that cannot be made costs no try; waits grow from 10 ms to about 5 s
    L10      what was dropped is said in a frame put before the batch, made anew at each try

The numbers are those of Logplex's published source. Its retries carry the Logplex-Frame-Id of the
first try.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2

from app.traffic.simulated_lines import SimulatedLine, lost_frame

USER_AGENT = "Logplex/v73"
LATENCIES_KEPT = 1_000
_BACKOFF_DOUBLINGS_MAX = 10


@dataclass(frozen=True, slots=True)
class LogplexBehaviour:
    """Logplex's numbers."""

    buffer_messages_max: int = 1_024
    shrink_after_s: float = 300.0
    shrunk_messages_max: int = 10
    body_bytes: int = 102_400  # aimed at; a frame that is larger goes alone
    tries: int = 3
    connect_within_s: float = 3.0
    answer_within_s: float = 5.0
    backoff_s: float = 0.01


LOGPLEX = LogplexBehaviour()


class Acknowledged(NamedTuple):
    """A batch that the drain took: its lines, and the messages that its L10 frame, if any, said
    were lost.
    """

    lines: Sequence[SimulatedLine]
    announced_lost: int


class GivenUp(NamedTuple):
    """A batch that was dropped; `certainly_lost` when the drain cannot have stored it."""

    lines: Sequence[SimulatedLine]
    certainly_lost: bool


@dataclass(slots=True)
class Counts:
    """What became of messages and POSTs so far."""

    offered: int = 0  # messages taken into the buffer
    posts: int = 0  # tries that reached the drain
    unreachable: int = 0  # connections that could not be made
    acknowledged: int = 0  # messages, without the L10 frames that Logplex adds
    overflowed: int = 0  # messages pushed out of the buffer
    refused: int = 0  # messages of batches answered 4xx
    given_up: int = 0  # messages of batches that failed every try
    unanswered: int = 0  # messages of tries without an answer: the drain may have stored them
    last_problem: str = ""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))

    @property
    def lost(self) -> int:
        """Messages that the drain never acknowledged and never will."""
        return self.overflowed + self.refused + self.given_up


class LogplexSender:
    """One drain of one app: takes lines, and sends them while `run` runs."""

    def __init__(
        self,
        url: str,
        drain_token: str,
        *,
        habits: LogplexBehaviour = LOGPLEX,
        on_acknowledged: Callable[[Acknowledged], None] = lambda batch: None,
        on_given_up: Callable[[GivenUp], None] = lambda batch: None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            url: of the drain as Heroku keeps it, credentials included.
            transport: instead of the network.
        """
        self.counts = Counts()
        self._url, self._host, self._authorization = _split_credentials(url)
        self._drain_token = drain_token
        self._habits = habits
        self._on_acknowledged = on_acknowledged
        self._on_given_up = on_given_up
        self._transport = transport
        self._clock = clock
        self._client = self._new_client()
        self._buffer: deque[SimulatedLine] = deque()
        self._changed = asyncio.Event()
        self._closing = False
        self._succeeded_s = clock()
        self._lost = 0  # not yet announced
        self._lost_since_s = 0.0

    @property
    def waiting(self) -> int:
        """Messages in the buffer."""
        return len(self._buffer)

    def offer(self, line: SimulatedLine) -> None:
        """Take a line. When the buffer is full, the oldest is lost."""
        while len(self._buffer) >= self._room:
            self._buffer.popleft()
            self.counts.overflowed += 1
            self._note_lost(1)
        self._buffer.append(line)
        self.counts.offered += 1
        self._changed.set()

    async def put(self, line: SimulatedLine) -> None:
        """Take a line when there is room for it; for lines of the past, which can wait."""
        while len(self._buffer) >= self._room:
            self._changed.clear()
            await self._changed.wait()
        self.offer(line)

    @property
    def _room(self) -> int:
        shrunk = self._clock() - self._succeeded_s > self._habits.shrink_after_s
        return self._habits.shrunk_messages_max if shrunk else self._habits.buffer_messages_max

    def close(self) -> None:
        """Let `run` return when all that was taken is delivered or lost."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Send until closed and empty."""
        try:
            while True:
                if self._buffer:
                    await self._deliver(self._next_batch())
                elif self._closing:
                    return
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            await self._client.aclose()

    def _next_batch(self) -> list[SimulatedLine]:
        batch = [self._buffer.popleft()]
        size = len(batch[0].frame)
        while self._buffer and size + len(self._buffer[0].frame) <= self._habits.body_bytes:
            batch.append(self._buffer.popleft())
            size += len(batch[-1].frame)
        self._changed.set()
        return batch

    async def _deliver(self, batch: list[SimulatedLine]) -> None:
        frame_id = os.urandom(16).hex().upper()
        refusals = 0
        certainly_lost = True
        tries_left = self._habits.tries
        while tries_left:
            lost, since_s = self._lost, self._lost_since_s
            frames = [line.frame for line in batch]
            if lost:
                frames.insert(0, lost_frame(self._clock(), lost, since_s))
            status = await self._post(frames, frame_id)
            if status is None:
                refusals += 1
                await asyncio.sleep(self._backoff_s(refusals))
                continue
            refusals = 0
            if 200 <= status < 300:
                self.counts.acknowledged += len(batch)
                self._succeeded_s = self._clock()
                self._lost -= lost
                self._lost_since_s = self._clock()
                self._on_acknowledged(Acknowledged(batch, lost))
                return
            self.counts.last_problem = f"the drain answered {status}" if status else "no answer"
            if 400 <= status < 500 and status != 429:
                self.counts.refused += len(batch)
                self._note_lost(len(batch))
                self._on_given_up(GivenUp(batch, certainly_lost))
                return
            certainly_lost = False  # 5xx: the drain itself may not know
            self.counts.unanswered += 0 if status else len(batch)
            tries_left -= 1
            await self._reconnect()
        self.counts.given_up += len(batch)
        self._note_lost(len(batch))
        self._on_given_up(GivenUp(batch, certainly_lost))

    async def _post(self, frames: Sequence[bytes], frame_id: str) -> int | None:
        """The status; 0 when there was no answer, None when no connection could be made."""
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
        ]
        request = httpx2.Request("POST", self._url, headers=headers, content=body)
        request.extensions["timeout"] = self._client.timeout.as_dict()
        started_s = time.perf_counter()
        try:
            response = await self._client.send(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self.counts.unreachable += 1
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
        habits = self._habits
        return httpx2.AsyncClient(
            verify=_tls(),
            trust_env=False,
            transport=self._transport,
            timeout=httpx2.Timeout(habits.answer_within_s, connect=habits.connect_within_s),
        )

    def _backoff_s(self, refusals: int) -> float:
        doublings = random.randint(1, min(_BACKOFF_DOUBLINGS_MAX, refusals))
        return self._habits.backoff_s * ((1 << doublings) - 1) / 2

    def _note_lost(self, messages: int) -> None:
        if not self._lost:
            self._lost_since_s = self._clock()
        self._lost += messages


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Made once: it takes 20 ms, and there may be hundreds of drains."""
    return httpx2.create_ssl_context(trust_env=False)


def _split_credentials(url: str) -> tuple[str, str, str]:
    """(URL without credentials, Host, Authorization); as Logplex, a user without a password has an
    empty one.
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    if not credentials:
        return bare, host, ""
    user, _, password = credentials.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return bare, host, f"Basic {base64.b64encode(pair).decode()}"
