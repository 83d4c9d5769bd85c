"""Metrics of Kafka: of this worker's producer, and of readers (consumers) by their heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.kafka.batch_producer import KafkaBatchSink
from app.kafka.producer import RecordProducer

CONSUMER_HEARTBEAT = "log:"  # prefix of the heartbeats of readers
_LAG = "lag:"  # prefix of their fields with the lag of one partition
_CONSUMER_COUNTERS = {
    "read": "Records read",
    "replayed": "Records read again, without effect",
    "unreadable": "Damaged records, copied to the topic of unreadable records",
    "lost": "Records that were deleted before a reader had read them",
    "rebalances": "Times that partitions were assigned or revoked",
}

Heartbeats = Mapping[str, Mapping[str, str]]


def consumer_heartbeats(heartbeats: Heartbeats) -> Heartbeats:
    """The heartbeats of readers, by the name of the reader."""
    return {
        name.removeprefix(CONSUMER_HEARTBEAT): fields
        for name, fields in heartbeats.items()
        if name.startswith(CONSUMER_HEARTBEAT)
    }


def heartbeat_fields(
    counts: Mapping[str, int], polled_s: float, error: str, lag: Mapping[int, int]
) -> dict[str, str]:
    """The fields of a reader's heartbeat."""
    return {
        **{name: str(counts[name]) for name in _CONSUMER_COUNTERS},
        "polled_s": f"{polled_s:.0f}",
        "error": error,
        "lag": str(sum(lag.values())),
        **{f"{_LAG}{partition}": str(records) for partition, records in lag.items()},
    }


def count_of(fields: Mapping[str, str], name: str) -> int:
    """A counter of a reader; 0 if the reader is of a version without it."""
    return int(fields.get(name, 0))


class KafkaCollector(Collector):
    """Exposes the counters of the producer and the heartbeats of readers."""

    def __init__(
        self,
        sink: KafkaBatchSink,
        producer: RecordProducer,
        heartbeats: Heartbeats,
        compaction_age_s: float,
    ) -> None:
        self._producer_counters = {
            "produced": ("Batches that the brokers acknowledged", sink.batches_produced),
            "refused": ("Batches that the brokers rejected", producer.records_rejected),
            "too_large": ("Batches that were too large for a record", sink.batches_too_large),
        }
        self._heartbeats = heartbeats
        self._compaction_age_s = compaction_age_s

    def collect(self) -> Iterable[Metric]:
        for name, (text, value) in self._producer_counters.items():
            yield CounterMetricFamily(
                f"dynometer_log_{name}_batches", f"{text}, since start", value
            )
        yield GaugeMetricFamily(
            "dynometer_log_compaction_age_seconds",
            "How long the log cleaner has left the oldest record that it could have removed",
            self._compaction_age_s,
        )
        for name, text in _CONSUMER_COUNTERS.items():
            counter = CounterMetricFamily(
                f"dynometer_log_{name}", f"{text}, since start", labels=("reader",)
            )
            for consumer, fields in self._heartbeats.items():
                counter.add_metric((consumer,), count_of(fields, name))
            yield counter
        poll_time = GaugeMetricFamily(
            "dynometer_log_polled_timestamp_seconds",
            "When a reader last polled the brokers",
            labels=("reader",),
        )
        lag = GaugeMetricFamily(
            "dynometer_log_lag_records", "Records not read yet", labels=("partition",)
        )
        for consumer, fields in self._heartbeats.items():
            poll_time.add_metric((consumer,), float(fields["polled_s"]))
            for field, records in fields.items():
                if field.startswith(_LAG):
                    lag.add_metric((field.removeprefix(_LAG),), float(records))
        yield poll_time
        yield lag
