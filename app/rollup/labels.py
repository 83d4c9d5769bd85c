"""Labels of the rows in a rollup's sections, as queries and `/metrics` show them.

A row is identified by its key in the section: a source, or a source and a number or name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from app.rollup.rollup import CONNECT_FAILED, CONNECT_OK, SERVICE_FAILED, SERVICE_OK
from app.rollup.statuses import outcome_of, status_class, status_label
from parsers.samples import labels_of

Labels = Mapping[str, str]
_cache = lru_cache(4_096)  # the same rows come in all apps: web.1 with status 200 and the like

_OUTCOMES = {
    SERVICE_OK: "ok",
    CONNECT_OK: "ok",
    SERVICE_FAILED: "failed",
    CONNECT_FAILED: "failed",
}


@_cache
def source_labels(source: str) -> Labels:
    """Return the labels of a source."""
    process_type, dyno = labels_of(source)
    return {"process_type": process_type, "dyno": dyno}


@_cache
def request_labels(key: tuple[str, int]) -> Labels:
    """Return the labels of (source, status)."""
    source, status = key
    return {
        **source_labels(source),
        "status": status_label(status),
        "status_class": status_class(status),
        "outcome": outcome_of(status),
    }


@_cache
def error_labels(key: tuple[str, str]) -> Labels:
    """Return the labels of (source, error code)."""
    return {**source_labels(key[0]), "code": key[1]}


@_cache
def exit_labels(key: tuple[str, int]) -> Labels:
    """Return the labels of (source, exit status)."""
    return {**source_labels(key[0]), "exit_status": str(key[1])}


@_cache
def timing_labels(key: tuple[str, int]) -> Labels:
    """Return the labels of (source, kind of time)."""
    return {**source_labels(key[0]), "outcome": _OUTCOMES[key[1]]}


@_cache
def sketch_labels(key: tuple[str, int]) -> Labels:
    """Return the labels of (process type, kind of time); there are no sketches by dyno."""
    return {"process_type": key[0], "outcome": _OUTCOMES[key[1]], "dyno": ""}


def gauge_labels(key: tuple[str, int]) -> Labels:
    """Return the labels of (source, gauge)."""
    return source_labels(key[0])


def process_type_labels(process_type: str) -> Labels:
    """Return the labels of a process type."""
    return {"process_type": process_type}
