"""The two text formats of Prometheus: 0.0.4, and OpenMetrics 1.0.

Sample lines are the same in both, so families are built without knowing the format. The caller
writes the end marker of OpenMetrics after the last family.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/,
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_UNITS = ("seconds", "bytes")


class MetricFamily(NamedTuple):
    """The head of a metric. A counter's name has no _total; its lines do."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str


def negotiate_format(accept: str) -> str:
    """The content type of the answer to a request with this Accept header."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def render_header(family: MetricFamily, content_type: str) -> str:
    """The comment lines before the family's samples: help, type, and unit."""
    return "".join(_header_lines(family, content_type == OPENMETRICS))


def _header_lines(family: MetricFamily, openmetrics: bool) -> Iterator[str]:
    counter = family.kind == "counter"
    name = f"{family.name}_total" if counter and not openmetrics else family.name
    yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
    unit = family.name.rpartition("_")[2]
    if openmetrics and unit in _UNITS:
        yield f"# UNIT {name} {unit}\n"


def escape_label(value: str) -> str:
    """Escape the value of a label."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
