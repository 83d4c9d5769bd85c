"""A part of an app that somebody wants to see alone: a process type, a dyno, an outcome."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from parsers.metrics import Metric
from parsers.samples import labels_of


class Selection(NamedTuple):
    """Each a pattern with * and ?, or "" for all."""

    process_type: str = ""
    dyno: str = ""
    outcome: str = ""

    def filters(self, metric: Metric) -> dict[str, list[str]]:
        """Filters of a query; what the metric does not know is left alone."""
        return {
            label: [pattern]
            for label, pattern in self._asdict().items()
            if pattern and label in metric.labels
        }

    def has(self, source: str) -> bool:
        """Whether what this source (see parsers/samples.py) says belongs to it."""
        process_type, dyno = labels_of(source)
        return (not self.process_type or fnmatchcase(process_type, self.process_type)) and (
            not self.dyno or fnmatchcase(dyno, self.dyno)
        )


EVERYTHING = Selection()
