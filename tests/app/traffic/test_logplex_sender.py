"""The sender behaves like the published Logplex."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from app.traffic.logplex_sender import AcknowledgedBatch, LogplexBehaviour, LogplexSender
from app.traffic.simulated_lines import SimulatedLine, frame
from parsers.framing import split

NOW_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z
TOKEN = "d.6b8a7d8a-2b3c-4d5e-8f90-a1b2c3d4e5f6"
HANG = 0  # in place of a status: the drain never answers
FAST = LogplexBehaviour(answer_within_s=0.05, backoff_s=0.0001)


class Post(NamedTuple):
    head: list[str]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.head[1:])

    @property
    def frames(self) -> list[bytes]:
        return [item for item in split(self.body) if isinstance(item, bytes)]


class Drain:
    """An HTTP server that records POSTs and answers them from a list of statuses, then 200."""

    def __init__(self, *answers: int) -> None:
        self.posts: list[Post] = []
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.in_flight = self.in_flight_max = 0
        self.port = 0
        self._answers = list(answers)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Drain]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://shop:simulate@127.0.0.1:{self.port}/drain"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().strip().split("\r\n")
                size = int(dict(line.split(": ", 1) for line in lines[1:])["Content-Length"])
                self.posts.append(Post(lines, await reader.readexactly(size)))
                self.in_flight += 1
                self.in_flight_max = max(self.in_flight, self.in_flight_max)
                await self.is_open.wait()
                status = self._answers.pop(0) if self._answers else 200
                self.in_flight -= 1
                if status == HANG:
                    await reader.read()
                    return
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % status)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def line(text: str = "hello") -> SimulatedLine:
    return SimulatedLine(NOW_S, frame(190, NOW_S, "app", "web.1", text))


def texts(post: Post) -> list[str]:
    return [frame_bytes.decode().strip().rpartition(" - ")[2] for frame_bytes in post.frames]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def sender_to(drain: Drain, behaviour: LogplexBehaviour = FAST) -> LogplexSender:
    return LogplexSender(drain.url, TOKEN, behaviour=behaviour, clock=lambda: NOW_S)


async def send(sender: LogplexSender, *lines: SimulatedLine) -> None:
    for simulated_line in lines:
        sender.offer(simulated_line)
    sender.close()
    await sender.run()


async def test_headers_are_those_of_logplex_in_its_order() -> None:
    async with Drain().serving() as drain:
        await send(sender_to(drain), line(), line())
    post = drain.posts[0]
    assert post.head[0] == "POST /drain HTTP/1.1"
    credentials = base64.b64encode(b"shop:simulate").decode()
    assert post.head[1:] == [
        f"Host: 127.0.0.1:{drain.port}",
        f"Authorization: Basic {credentials}",
        "Content-Type: application/logplex-1",
        "Logplex-Msg-Count: 2",
        f"Logplex-Frame-Id: {post.headers['Logplex-Frame-Id']}",
        f"Logplex-Drain-Token: {TOKEN}",
        "User-Agent: Logplex/v73",
        f"Content-Length: {len(post.body)}",
    ]
    frame_id = post.headers["Logplex-Frame-Id"]
    assert len(frame_id) == 32
    assert set(frame_id) <= set("0123456789ABCDEF")


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [("", None), ("shop@", b"shop:"), ("shop:p%40ss@", b"shop:p@ss")],
)
async def test_credentials_are_those_of_the_url(userinfo: str, expected: bytes | None) -> None:
    async with Drain().serving() as drain:
        url = f"http://{userinfo}127.0.0.1:{drain.port}"
        await send(LogplexSender(url, TOKEN), line())
    post = drain.posts[0]
    assert post.head[0] == "POST / HTTP/1.1"
    authorization = post.headers.get("Authorization")
    assert authorization == (expected and f"Basic {base64.b64encode(expected).decode()}")


async def test_bodies_are_whole_frames_up_to_their_size_and_a_larger_frame_goes_alone() -> None:
    small, large = line("x" * 100), line("y" * 2_000)
    behaviour = LogplexBehaviour(body_bytes=3 * len(small.frame))
    async with Drain().serving() as drain:
        sender = sender_to(drain, behaviour)
        await send(sender, small, small, small, small, large, small)
    assert [len(post.frames) for post in drain.posts] == [3, 1, 1, 1]
    assert sender.counts.acknowledged_messages == 6


async def test_one_post_is_in_flight_and_lines_that_arrive_meanwhile_go_into_the_next() -> None:
    async with Drain().serving() as drain:
        drain.is_open.clear()
        sender = sender_to(drain, LogplexBehaviour())
        running = asyncio.create_task(sender.run())
        sender.offer(line("1"))
        await until(lambda: len(drain.posts) == 1)
        for text in "234":
            sender.offer(line(text))
        drain.is_open.set()
        sender.close()
        await running
    assert [texts(post) for post in drain.posts] == [["1"], ["2", "3", "4"]]
    assert drain.in_flight_max == 1


async def test_a_full_buffer_loses_the_oldest_and_the_next_batch_says_so_first() -> None:
    batches: list[AcknowledgedBatch] = []
    async with Drain().serving() as drain:
        sender = LogplexSender(
            drain.url,
            TOKEN,
            behaviour=LogplexBehaviour(buffer_messages_max=3),
            on_acknowledged=batches.append,
            clock=lambda: NOW_S,
        )
        await send(sender, *(line(text) for text in "12345"))
    (post,) = drain.posts
    loss, *rest = texts(post)
    assert rest == ["3", "4", "5"]
    assert loss == (
        "Error L10 (output buffer overflow): 2 messages dropped since 2026-11-22T10:00:00+00:00."
    )
    assert post.headers["Logplex-Msg-Count"] == "4"
    assert (
        sender.counts.offered_messages,
        sender.counts.overflowed_messages,
        sender.counts.lost_messages,
    ) == (5, 2, 2)
    assert [(len(batch.lines), batch.announced_lost) for batch in batches] == [(3, 2)]


async def test_a_loss_is_reported_once() -> None:
    async with Drain().serving() as drain:
        sender = sender_to(drain, LogplexBehaviour(buffer_messages_max=1))
        running = asyncio.create_task(sender.run())
        sender.offer(line("1"))
        sender.offer(line("2"))
        await until(lambda: sender.counts.acknowledged_messages == 1)
        sender.offer(line("3"))
        sender.close()
        await running
    assert [len(post.frames) for post in drain.posts] == [2, 1]


@pytest.mark.parametrize("status", [503, 500, 429, 302, HANG])
async def test_a_temporary_failure_is_tried_again_under_the_same_frame_id(status: int) -> None:
    async with Drain(status).serving() as drain:
        sender = sender_to(drain)
        await send(sender, line())
    first, second = drain.posts
    assert first.headers["Logplex-Frame-Id"] == second.headers["Logplex-Frame-Id"]
    assert first.body == second.body
    assert sender.counts.acknowledged_messages == 1
    assert sender.counts.unanswered_messages == (1 if status == HANG else 0)


async def test_every_batch_has_its_own_frame_id() -> None:
    behaviour = LogplexBehaviour(body_bytes=1)
    async with Drain().serving() as drain:
        await send(sender_to(drain, behaviour), line(), line())
    assert len({post.headers["Logplex-Frame-Id"] for post in drain.posts}) == 2


async def test_three_failed_tries_lose_the_batch_and_the_next_one_says_so() -> None:
    async with Drain(503, 503, 503).serving() as drain:
        sender = sender_to(drain, LogplexBehaviour(body_bytes=1))
        await send(sender, line("1"), line("2"))
    assert [texts(post)[-1] for post in drain.posts] == ["1", "1", "1", "2"]
    assert "1 messages dropped" in texts(drain.posts[3])[0]
    assert sender.counts.abandoned_messages == 1


@pytest.mark.parametrize("status", [400, 401, 404, 413])
async def test_a_rejection_is_final(status: int) -> None:
    async with Drain(status).serving() as drain:
        sender = sender_to(drain, LogplexBehaviour(body_bytes=1))
        await send(sender, line("1"), line("2"))
    assert [texts(post)[-1] for post in drain.posts] == ["1", "2"]
    assert sender.counts.rejected_messages == 1
    assert str(status) in sender.counts.last_problem


async def test_a_loss_is_counted_anew_at_each_try() -> None:
    async with Drain(503).serving() as drain:
        drain.is_open.clear()
        sender = sender_to(drain, LogplexBehaviour(buffer_messages_max=2))
        for text in "123":
            sender.offer(line(text))
        running = asyncio.create_task(sender.run())
        await until(lambda: len(drain.posts) == 1)
        for text in "456":
            sender.offer(line(text))
        drain.is_open.set()
        sender.close()
        await running
    first, second, third = drain.posts
    assert first.headers["Logplex-Frame-Id"] == second.headers["Logplex-Frame-Id"]
    assert "1 messages dropped" in texts(first)[0]
    assert "2 messages dropped" in texts(second)[0]
    assert texts(third) == ["5", "6"]


async def test_a_refused_connection_costs_no_try() -> None:
    async with Drain().serving() as closed_drain:
        port = closed_drain.port
    drain = Drain()
    drain.port = port
    sender = sender_to(drain)
    running = asyncio.create_task(sender.run())
    sender.offer(line())
    await until(lambda: sender.counts.failed_connections > FAST.tries)
    async with drain.serving(port):
        sender.close()
        await running
    assert (sender.counts.acknowledged_messages, sender.counts.posts) == (1, 1)


async def test_lines_of_the_past_wait_for_room_and_none_is_lost() -> None:
    async with Drain().serving() as drain:
        sender = sender_to(drain, LogplexBehaviour(buffer_messages_max=2))
        running = asyncio.create_task(sender.run())
        for number in range(20):
            await sender.offer_when_free(line(str(number)))
        sender.close()
        await running
    assert [text for post in drain.posts for text in texts(post)] == [str(n) for n in range(20)]
    assert sender.counts.lost_messages == 0
