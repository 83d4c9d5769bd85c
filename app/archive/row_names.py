"""Names the rows of rollups as the API does: the metric of a row, and its labels."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from app.rollup.open_metrics import SECTION_PREFIXES, known_metric
from app.rollup.schema import METRICS, SECTIONS, Section

_LEDGER_METRIC = "messages"  # as app.query.table calls it


def _whole_metrics() -> dict[str, str]:
    """The metric that a section feeds with all of its rows, by the section's name."""
    metrics = {section.name: section.name for section in SECTIONS}
    for metric in METRICS.values():
        if metric.selection is None and len(metric.sections) == 1:
            metrics[metric.sections[0]] = metric.name
    return {**metrics, "ledger": _LEDGER_METRIC}


_WHOLE_METRICS = _whole_metrics()
# The section of the sketches that belong to a section of summaries.
SKETCHES = {
    section: sections[1]
    for section, prefix in SECTION_PREFIXES.items()
    if len(sections := known_metric(f"{prefix}name").sections) > 1
}
# (section, name of the second key column, unit) -> metric of the catalogue
_CATALOGUE = {
    (metric.sections[0], name, metric.stored_unit): metric.name
    for metric in METRICS.values()
    for name in metric.selection or ()
}


@lru_cache(maxsize=4_096)
def metric_name(section: Section, key: Any) -> str:
    """The metric that a row belongs to, as the API names it."""
    columns = section.columns_of(key)
    if len(columns) < 2:
        return _WHOLE_METRICS[section.name]
    unit = columns[2] if section.family else None
    if metric := _CATALOGUE.get((section.name, columns[1], unit)):
        return metric
    if section.name in SECTION_PREFIXES:
        return f"{SECTION_PREFIXES[section.name]}{columns[1]}"
    if section.keys[1].name in ("metric", "gauge"):  # one that only a newer version knows
        return str(columns[1])
    return _WHOLE_METRICS[section.name]


@lru_cache(maxsize=4_096)  # the same rows come hour after hour
def label_texts(section: Section, key: Any) -> tuple[str, str, str]:
    """The process type, the dyno, and the other labels as JSON."""
    labels = section.labels(key)
    further_labels = {
        column.series_label: labels[column.series_label]
        for column in section.keys
        if column.series_label not in ("", "process_type") and labels[column.series_label]
    }
    return labels.get("process_type", ""), labels.get("dyno", ""), json.dumps(further_labels)
