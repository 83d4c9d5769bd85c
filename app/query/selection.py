"""Selects the part of an app that a reader wants to see: process type, dyno, outcome."""

from __future__ import annotations

from typing import NamedTuple

from app.rollup.schema import Metric
from app.support.globs import matches_glob
from parsers.samples import labels_of


class Selection(NamedTuple):
    """Each field is a pattern with * and ?, or "" for all."""

    process_type: str = ""
    dyno: str = ""
    outcome: str = ""

    def filters(self, metric: Metric) -> dict[str, list[str]]:
        """The query filters for a metric; labels that the metric does not have are left out."""
        return {
            label: [pattern]
            for label, pattern in self._asdict().items()
            if pattern and label in metric.labels
        }

    def includes(self, source: str) -> bool:
        """Whether lines of this source (a dyno name, as in parsers.samples) are selected."""
        process_type, dyno = labels_of(source)
        return (not self.process_type or matches_glob(process_type, self.process_type)) and (
            not self.dyno or matches_glob(dyno, self.dyno)
        )


WHOLE_APP = Selection()
