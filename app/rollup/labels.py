"""The rows of a rollup's sections: which labels each has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from app.rollup.rollup import CONNECT_FAILED, CONNECT_OK, SERVICE_FAILED, SERVICE_OK
from app.rollup.statuses import outcome_of, status_class, status_label
from parsers.samples import labels_of

Labels = Mapping[str, str]
_remembered = lru_cache(4_096)  # what all apps have: web.1 with status 200 and the like

_OUTCOMES = {
    SERVICE_OK: "ok",
    CONNECT_OK: "ok",
    SERVICE_FAILED: "failed",
    CONNECT_FAILED: "failed",
}


@_remembered
def of_source(source: str) -> Labels:
    """A source."""
    process_type, dyno = labels_of(source)
    return {"process_type": process_type, "dyno": dyno}


@_remembered
def of_request(raw: tuple[str, int]) -> Labels:
    """(source, status)."""
    source, status = raw
    return {
        **of_source(source),
        "status": status_label(status),
        "status_class": status_class(status),
        "outcome": outcome_of(status),
    }


@_remembered
def of_error(raw: tuple[str, str]) -> Labels:
    """(source, code)."""
    return {**of_source(raw[0]), "code": raw[1]}


@_remembered
def of_exit(raw: tuple[str, int]) -> Labels:
    """(source, exit status)."""
    return {**of_source(raw[0]), "exit_status": str(raw[1])}


@_remembered
def of_tally(raw: tuple[str, int]) -> Labels:
    """(source, which times)."""
    return {**of_source(raw[0]), "outcome": _OUTCOMES[raw[1]]}


@_remembered
def of_sketch(raw: tuple[str, int]) -> Labels:
    """(process type, which times); sketches are not kept by dyno."""
    return {"process_type": raw[0], "outcome": _OUTCOMES[raw[1]], "dyno": ""}


def of_gauge(raw: tuple[str, int]) -> Labels:
    """(source, gauge)."""
    return of_source(raw[0])


def of_process_type(raw: str) -> Labels:
    """A process type."""
    return {"process_type": raw}
