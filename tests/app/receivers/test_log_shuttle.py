"""Senders without a Frame-Id: a repeated POST counts once, on each way in and with a real Redis."""

from __future__ import annotations

import gzip

import pytest

from app.receivers.log_shuttle import post_id, unreported_loss
from app.receivers.request_head import DROP_COUNT, LOST_COUNT
from app.storage.redis.store import RedisStore
from tests.app.receivers.test_http_fast_path import BODY, CLOSE, LINES, WatchedService, service
from tests.app.receivers.test_http_fast_path import post as raw_post
from tests.support.lines import AT_S, app_line, counted, router, timestamp
from tests.support.service import NOW_S

REQUEST_ID = b"X-Request-Id: 4f8a6a2e-7f0e-4a53-9d0e-0d6f5f1f2b11"
OTHER_ID = b"X-Request-Id: 1d1b2c3e-7f0e-4a53-9d0e-0d6f5f1f2b11"
OTHER_BODY = router(NOW_S - 2)


def loss_line(messages: int, code: str = "L12", at_s: float = AT_S, app_name: str = "app") -> bytes:
    """A line of log-shuttle about lost messages, as its logplex_formatter.go writes it."""
    return counted(
        f"<172>1 {timestamp(at_s)} heroku {app_name} log-shuttle - - Error {code}: {messages} "
        f"messages {'dropped' if code == 'L12' else 'lost'} since {timestamp(AT_S - 9)}\n".encode()
    )


def fast(body: bytes, *headers: bytes) -> bytes:
    return raw_post(body, CLOSE, *headers)


def slow(body: bytes, *headers: bytes) -> bytes:
    return raw_post(body, CLOSE, b"Expect: 100-continue", *headers)


def with_slash(body: bytes, *headers: bytes) -> bytes:
    return fast(body, *headers).replace(b"POST /drain ", b"POST /drain/ ")


def zipped(body: bytes, *headers: bytes) -> bytes:
    return raw_post(gzip.compress(body), CLOSE, b"Content-Encoding: gzip", *headers)


WAYS_IN = {form.__name__: form for form in (fast, slow, with_slash, zipped)}


async def deliver(at: WatchedService, *raw_requests: bytes) -> None:
    for raw_request in raw_requests:
        assert (await at.wire.statuses(raw_request))[-1] == 200


@pytest.mark.parametrize("way", WAYS_IN)
async def test_a_post_repeated_under_its_request_id_counts_once(
    redis_store: RedisStore, way: str
) -> None:
    """Whichever way the first and the second attempt take."""
    async with service(redis_store) as at:
        await deliver(at, fast(BODY, REQUEST_ID), WAYS_IN[way](BODY, REQUEST_ID))
        assert await at.ledger() == {"received": LINES, "counted": LINES, "duplicate": LINES}


@pytest.mark.parametrize("way", WAYS_IN)
async def test_another_body_or_another_request_id_is_another_batch(
    redis_store: RedisStore, way: str
) -> None:
    send = WAYS_IN[way]
    async with service(redis_store) as at:
        await deliver(at, send(BODY, REQUEST_ID), send(OTHER_BODY, REQUEST_ID))
        await deliver(at, send(BODY, OTHER_ID))
        assert await at.ledger() == {"received": 2 * LINES + 1, "counted": 2 * LINES + 1}


async def test_a_frame_id_alone_identifies_a_batch(redis_store: RedisStore) -> None:
    """Behind a proxy, each attempt of Logplex has a request id of its own."""
    frame_id = b"Logplex-Frame-Id: 09C557EAFCFB6CF2740EE62F62971098"
    async with service(redis_store) as at:
        await deliver(at, fast(BODY, frame_id, REQUEST_ID), fast(BODY, frame_id, OTHER_ID))
        await deliver(at, fast(BODY, REQUEST_ID))
        expected = {"received": 2 * LINES, "counted": 2 * LINES, "duplicate": LINES}
        assert await at.ledger() == expected


async def test_without_any_id_each_post_counts(redis_store: RedisStore) -> None:
    async with service(redis_store) as at:
        await deliver(at, fast(BODY), fast(BODY), slow(BODY))
        assert await at.ledger() == {"received": 3 * LINES, "counted": 3 * LINES}


async def test_requests_with_and_without_a_slash_take_the_fast_path() -> None:
    async with service() as at:
        await deliver(at, fast(BODY, REQUEST_ID), with_slash(BODY, OTHER_ID))
        assert at.fast_posts == 2


async def test_losses_in_the_headers_are_in_the_ledger_once_per_batch(
    redis_store: RedisStore,
) -> None:
    losses = (b"Logplex-Drop-Count: 7", b"Logplex-Lost-Count: 2")
    async with service(redis_store) as at:
        for _ in range(2):
            await deliver(at, fast(BODY, REQUEST_ID, *losses))
        assert await at.ledger() == {
            "received": LINES,
            "counted": LINES,
            "duplicate": LINES,
            "lost_upstream": 9,
        }


async def test_an_attempt_with_new_times_in_its_loss_lines_counts_once(
    redis_store: RedisStore,
) -> None:
    losses = (b"Logplex-Drop-Count: 7", b"Logplex-Lost-Count: 2")
    async with service(redis_store) as at:
        for second in range(2):
            at_s = NOW_S - 5 + second
            lines = loss_line(7, at_s=at_s) + loss_line(2, "L13", at_s=at_s)
            await deliver(at, fast(lines + BODY, REQUEST_ID, *losses))
        ledger = await at.ledger()
        assert ledger["lost_upstream"] == 9
        assert ledger["received"] == ledger["duplicate"] == LINES + 2


async def test_large_bodies_with_losses_count_once(redis_store: RedisStore) -> None:
    lines = 2_000
    body = router(NOW_S - 1) * lines
    async with service(redis_store) as at:
        for _ in range(2):
            await deliver(at, fast(body, REQUEST_ID, b"Logplex-Drop-Count: 7"))
        assert await at.ledger() == {
            "received": lines,
            "counted": lines,
            "duplicate": lines,
            "lost_upstream": 7,
        }


def test_the_id_depends_on_everything_but_the_times_of_loss_lines() -> None:
    def identify(body: bytes, request_id: bytes = b"1") -> bytes:
        return post_id(b"", request_id, b"before" + body, len(b"before"))

    body = loss_line(7) + loss_line(2, "L13") + app_line()
    assert identify(body) == post_id(b"", b"1", body)
    later = loss_line(7, at_s=AT_S + 1) + loss_line(2, "L13", at_s=AT_S + 2) + app_line()
    assert identify(body) == identify(later)
    others = [
        loss_line(8) + loss_line(2, "L13") + app_line(),
        loss_line(7) + loss_line(2, "L12") + app_line(),
        loss_line(7) + loss_line(2, "L13") + app_line(at_s=AT_S + 1),
        loss_line(7) + app_line(),
        app_line() + loss_line(7),
    ]
    assert len({identify(other) for other in [body, *others]}) == 1 + len(others)
    assert identify(app_line() + loss_line(7)) != identify(app_line() + loss_line(7, at_s=AT_S + 1))
    assert identify(body, b"2") != identify(body) != post_id(b"1", b"", body)
    assert post_id(b"", b"", body) != post_id(b"", b"", body)


def test_losses_that_the_lines_report_are_not_counted_again() -> None:
    headers = {DROP_COUNT: b"7", LOST_COUNT: b"2"}
    assert unreported_loss(headers, app_line()) == 9
    assert unreported_loss({DROP_COUNT: b"-7", LOST_COUNT: b"x"}, app_line()) == 0
    assert unreported_loss({}, loss_line(7)) == 0
    overflow = b"Error L10 (output buffer overflow): 4 messages dropped since 2026."
    line = counted(b"<172>1 2026-11-22T10:00:00+00:00 host heroku logplex - " + overflow)
    assert unreported_loss(headers, line + app_line()) == 5
    assert unreported_loss(headers, line * 2 + app_line()) == 1
    assert unreported_loss({DROP_COUNT: b"3"}, line) == 0
    assert unreported_loss(headers, b"\0junk") == 9
