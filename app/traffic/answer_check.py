"""Checks that a service reports exactly the traffic that it acknowledged.

Two sets of totals with the same names are compared:

acknowledged   added up here, from the expectations that come with each simulated line
reported       from the service's API, minus its totals from before the simulation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import httpx2

from app.config import ConfigError
from app.traffic.answers import connection_problem, error_reason
from app.traffic.logplex_sender import AcknowledgedBatch
from app.traffic.simulated_lines import SimulatedLine

REQUESTS = "requests"
LINES = "log lines"
_CODE = "errors {}"
_OUTCOME = "requests {}"
_LOST = "log lines lost upstream"
_LEDGER = {
    LINES: "received",
    "log lines promised": "promised",
    "log lines too old": "too_old",
    "log lines too new": "too_new",
    _LOST: "lost_upstream",
}
_UNPARSED = "log lines not understood"
_UNKNOWN_APP_STATUS = 404

Totals = Counter[str]


class ServiceUnreachable(Exception):
    """The address has no service, or not Dynometer. The message includes the fix."""


class CheckRow(NamedTuple):
    """One total: the acknowledged and the reported number."""

    name: str
    sent_count: int
    answer_count: int

    @property
    def agrees(self) -> bool:
        """Whether both numbers are the same."""
        return self.sent_count == self.answer_count


def expected_totals(batch: AcknowledgedBatch) -> Totals:
    """The totals that a service must count for a batch that it acknowledged."""
    totals: Totals = Counter()
    for line in batch.lines:
        if line.status is not None:
            totals[REQUESTS] += 1
            totals[_OUTCOME.format(_outcome(line))] += 1
        if line.code:
            totals[_CODE.format(line.code)] += 1
        totals[_LOST] += line.lost
    messages = len(batch.lines)
    if batch.announced_lost:
        messages += 1
        totals[_CODE.format("L10")] += 1
        totals[_LOST] += batch.announced_lost
    totals[LINES] += messages
    totals["log lines promised"] += messages
    return totals


def _outcome(line: SimulatedLine) -> str:
    if line.code == "H80":
        return "maintenance"
    return "failed" if line.status == 0 or (line.status or 0) >= 500 else "ok"


def compare(acknowledged_totals: Totals, before: Totals, after: Totals) -> Iterator[CheckRow]:
    """Yield rows in a fixed order: requests, errors by code, the ledger.

    `before` and `after` are the totals that the service reports before and after the simulation.
    """
    names = {*acknowledged_totals, *before, *after, REQUESTS, LINES}
    for name in sorted(
        names, key=lambda name: (name.startswith(LINES), not name.startswith(REQUESTS), name)
    ):
        row = CheckRow(name, acknowledged_totals[name], after[name] - before[name])
        if row.sent_count or row.answer_count or name in (REQUESTS, LINES):
            yield row


class ServiceClient:
    """Reads totals from a service's API. A context manager."""

    def __init__(self, url: str, admin_token: str = "") -> None:
        """
        Args:
            url: without credentials.
            admin_token: needed unless the service is in local mode.
        """
        self._url = url
        headers = {"Authorization": f"Bearer {admin_token}"} if admin_token else {}
        self._client = httpx2.Client(headers=headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def totals(self, app: str, start_s: int, end_s: int) -> Totals:
        """The totals that the service reports for an app and a time range (Unix seconds).

        Raises:
            ServiceUnreachable: there is no answer, or it is not one of Dynometer.
            ConfigError: the service requires its admin token.
        """
        totals: Totals = Counter()
        time_range = {"start": start_s, "end": end_s}
        for metric, label, name in (
            (REQUESTS, "outcome", _OUTCOME),
            ("heroku_errors", "code", _CODE),
        ):
            parameters = {
                "metric": metric,
                "stat": "sum",
                "step": "range",
                "by": label,
                **time_range,
            }
            for series in self._get(f"{app}/query", parameters).get("series", ()):
                value = series["values"][0] or 0
                totals[name.format(series["labels"][label])] += value
                if metric == REQUESTS:
                    totals[REQUESTS] += value
        ledger = self._get(f"{app}/ledger", time_range)
        if ledger:
            for name, key in _LEDGER.items():
                totals[name] += ledger[key]
            totals[_UNPARSED] += sum(ledger["unparsed"].values())
        return totals

    def drained_apps(self) -> set[str]:
        """The apps whose lines come from a log drain. Raises as `totals`."""
        apps = self._get("", {}).get("apps", ())
        return {app["app"] for app in apps if app.get("origin", "drain") == "drain"}

    def requests(self, app: str, start_s: int, end_s: int) -> int:
        """The requests of an app within a time range in Unix seconds. Raises as `totals`."""
        parameters = {"metric": REQUESTS, "stat": "sum", "step": "range"}
        answer = self._get(f"{app}/query", {**parameters, "start": start_s, "end": end_s})
        return sum(series["values"][0] or 0 for series in answer.get("series", ()))

    def _get(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._url}/api/v1/apps/{path}".rstrip("/")
        try:
            response = self._client.get(url, params=parameters)
        except httpx2.TransportError as error:
            raise ServiceUnreachable(connection_problem(self._url, error)) from None
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            raise ConfigError(
                f"{self._url} requires its admin token to compare answers. "
                "Set DYNOMETER_ADMIN_TOKEN."
            )
        is_json = "json" in response.headers.get("Content-Type", "")
        if is_json and response.status_code == _UNKNOWN_APP_STATUS:
            return {}
        if not is_json or not response.is_success:
            other = "" if is_json else " and is not Dynometer"
            raise ServiceUnreachable(
                f"{self._url} answered {response.status_code}{other}: {error_reason(response)}"
            )
        answer: dict[str, Any] = response.json()
        return answer
