"""Open metrics: senders choose their names. Custom, language and further add-on metrics.

They are no rows of schema.METRICS. The first part of a name says where the metric is stored:

    custom.count.NAME       custom.measure.NAME     custom.sample.NAME
    language.count.NAME     language.sample.NAME
    addon.SERVICE.SAMPLE    samples that have no row in app.rollup.addon_metrics

The unit is part of the key: a metric that was logged in ms and without a unit is two metrics, and
a query answers one series for each.
"""

from __future__ import annotations

from functools import lru_cache

from app.rollup.schema import MEASURE_STATS, METRICS, Metric, MetricKind

_COUNT_STATS = ("sum", "rate")
_SAMPLE_STATS = ("avg", "max", "min", "last", "sum")
_DYNO_LABELS = ("process_type", "dyno", "unit", "source")
_FAMILIES: dict[str, tuple[MetricKind, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # prefix: kind, labels, stats, sections
    "custom.count.": ("counter", _DYNO_LABELS, _COUNT_STATS, ("custom_counts",)),
    "custom.sample.": ("gauge", _DYNO_LABELS, _SAMPLE_STATS, ("custom_samples",)),
    "custom.measure.": (
        "distribution",
        ("process_type", "unit", "source"),
        MEASURE_STATS,
        ("custom_measures", "custom_sketches"),
    ),
    "language.count.": ("counter", _DYNO_LABELS, _COUNT_STATS, ("language_counts",)),
    "language.sample.": ("gauge", _DYNO_LABELS, _SAMPLE_STATS, ("language_samples",)),
    "addon.": ("gauge", ("addon", "attachment", "unit"), _SAMPLE_STATS, ("addon_samples",)),
}
PREFIXES = tuple(_FAMILIES)
SECTION_PREFIXES = {sections[0]: prefix for prefix, (_, _, _, sections) in _FAMILIES.items()}


def is_open(name: str) -> bool:
    """Whether this is the name of a metric that a sender chose."""
    return name.startswith(PREFIXES)


def known_metric(name: str) -> Metric:
    """The metric of this name, which must be one.

    Raises:
        KeyError
    """
    metric = find_metric(name)
    if metric is None:
        raise KeyError(name)
    return metric


@lru_cache(maxsize=4_096)
def find_metric(name: str) -> Metric | None:
    """The metric of this name; None if there can be none.

    For any name after one of PREFIXES there is a metric, whether or not it has data.
    """
    if name in METRICS:
        return METRICS[name]
    for prefix, (kind, labels, stats, sections) in _FAMILIES.items():
        chosen_name = name.removeprefix(prefix)
        if name.startswith(prefix) and chosen_name:
            return Metric(
                *(name, "", kind, labels, stats, f"{chosen_name}, as senders name it", sections),
                selection=frozenset({chosen_name}),
                scale=(1, 1_000_000),
            )
    return None
