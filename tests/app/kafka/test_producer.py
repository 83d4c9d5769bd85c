"""A producer after a fatal error."""

from __future__ import annotations

import asyncio

from app.kafka.producer import RecordProducer, TopicRecord


async def test_records_of_a_replaced_producer_get_their_reports_and_it_is_replaced_once() -> None:
    properties = {"bootstrap.servers": "127.0.0.1:1", "delivery.timeout.ms": 300, "log_level": 0}
    producer = RecordProducer(properties)
    failed = producer._producer
    sending = asyncio.create_task(producer.send("topic", [TopicRecord(b"shop", b"value")]))
    await asyncio.sleep(0)  # the record is in the client's queue

    producer._replace(failed)
    successor = producer._producer
    producer._replace(failed)  # by another call whose records failed
    assert producer._producer is successor is not failed
    async with asyncio.timeout(30):
        [error] = await sending
    assert error is not None
    await producer.close()
