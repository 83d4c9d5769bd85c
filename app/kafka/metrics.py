"""What is measured of the log: by this worker, and by readers in their signs of life."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.kafka.batch_producer import KafkaBatchSink
from app.kafka.producer import RecordProducer

READER = "log:"  # the signs of life of readers begin so
_LAG = "lag:"  # and their fields, by partition
_COUNTED = {
    "read": "Records that were read",
    "replayed": "Records that were read again, and changed nothing",
    "unreadable": "Records that could not be read, and were set aside",
    "rebalances": "Times that partitions came or went",
}

Beats = Mapping[str, Mapping[str, str]]


def readers(heartbeats: Beats) -> Beats:
    """Those of readers, by their names."""
    return {
        name.removeprefix(READER): beat
        for name, beat in heartbeats.items()
        if name.startswith(READER)
    }


def said(
    counts: Mapping[str, int], polled_s: float, error: str, lag: Mapping[int, int]
) -> dict[str, str]:
    """The sign of life of a reader."""
    return {
        **{name: str(counts[name]) for name in _COUNTED},
        "polled_s": f"{polled_s:.0f}",
        "error": error,
        "lag": str(sum(lag.values())),
        **{f"{_LAG}{partition}": str(records) for partition, records in lag.items()},
    }


class KafkaCollector(Collector):
    """All of it."""

    def __init__(
        self, appends: KafkaBatchSink, producer: RecordProducer, heartbeats: Beats
    ) -> None:
        self._produced = {
            "produced": ("Batches that the brokers acknowledged", appends.produced),
            "refused": ("Batches that they did not", producer.refused),
            "too_large": ("Batches of which only the books fit into a record", appends.too_large),
        }
        self._heartbeats = heartbeats

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        for name, (text, value) in self._produced.items():
            yield CounterMetricFamily(
                f"dynometer_log_{name}_batches", f"{text}, since start", value
            )
        for name, text in _COUNTED.items():
            counter = CounterMetricFamily(
                f"dynometer_log_{name}", f"{text}, since start", labels=("reader",)
            )
            for reader, beat in self._heartbeats.items():
                counter.add_metric((reader,), float(beat[name]))
            yield counter
        polled = GaugeMetricFamily(
            "dynometer_log_polled_timestamp_seconds",
            "When a reader last asked the brokers",
            labels=("reader",),
        )
        lag = GaugeMetricFamily(
            "dynometer_log_lag_records", "Records that wait to be read", labels=("partition",)
        )
        for reader, beat in self._heartbeats.items():
            polled.add_metric((reader,), float(beat["polled_s"]))
            for field, records in beat.items():
                if field.startswith(_LAG):
                    lag.add_metric((field.removeprefix(_LAG),), float(records))
        yield polled
        yield lag
