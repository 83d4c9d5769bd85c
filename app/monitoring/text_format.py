"""Prometheus' two text formats: 0.0.4, and OpenMetrics 1.0.

Lines of samples are the same in both, so whoever makes families need not know which is asked for.
The end that OpenMetrics needs is written by whoever writes the last family.
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
    """One metric. A counter's name is without _total, which its lines have."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    lines: list[str]


def negotiate_format(accept: str) -> str:
    """The content type to answer with."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def render_lines(family: MetricFamily) -> str:
    """Its lines as text; "" without any."""
    return "\n".join((*family.lines, ""))


def render_header(family: MetricFamily, content_type: str) -> str:
    """What stands before its lines."""
    return "".join(_header_lines(family, content_type == OPENMETRICS))


def _header_lines(family: MetricFamily, openmetrics: bool) -> Iterator[str]:
    counter = family.kind == "counter"
    name = f"{family.name}_total" if counter and not openmetrics else family.name
    yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
    unit = family.name.rpartition("_")[2]
    if openmetrics and unit in _UNITS:
        yield f"# UNIT {name} {unit}\n"


def escape_label(value: str) -> str:
    """A label's value."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
