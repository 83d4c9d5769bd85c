"""Whether a service answers exactly what was sent to it: two tables of the same names, side by
side.

what was acknowledged   added up here, from what the simulated app says of its own lines
what the service says   from its API; what it had before the simulation is taken off
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import httpx2

from app.config import ConfigError
from app.support.about import command
from app.traffic.logplex_sender import Acknowledged

REQUESTS = "requests"
LINES = "log lines"
_CODE = "errors {}"
_OUTCOME = "requests {}"
_LEDGER = {
    LINES: "received",
    "log lines promised": "promised",
    "log lines too old": "too_old",
    "log lines too new": "too_new",
    "log lines lost upstream": "lost_upstream",
}
_UNREADABLE = "log lines not understood"
_NOTHING_SAID = 404  # of an app that the service does not know

Totals = Counter[str]


class ServiceUnreachable(Exception):
    """Nobody listens at the address, or it is not a Dynometer; the message says what to do."""


class CheckRow(NamedTuple):
    """One number, twice."""

    name: str
    sent: int
    answered: int

    @property
    def agrees(self) -> bool:
        """Whether both are the same."""
        return self.sent == self.answered


def totals_of(batch: Acknowledged) -> Totals:
    """What a service has to count for a batch that it acknowledged."""
    totals: Totals = Counter()
    for line in batch.lines:
        if line.status is not None:
            totals[REQUESTS] += 1
            failed = line.status >= 500 or line.status == 0
            totals[_OUTCOME.format("failed" if failed else "ok")] += 1
        if line.code:
            totals[_CODE.format(line.code)] += 1
    messages = len(batch.lines)
    if batch.announced_lost:
        messages += 1
        totals[_CODE.format("L10")] += 1
        totals["log lines lost upstream"] += batch.announced_lost
    totals[LINES] += messages
    totals["log lines promised"] += messages
    return totals


def compare(sent: Totals, before: Totals, after: Totals) -> Iterator[CheckRow]:
    """Rows in a fixed order: requests, errors by code, the ledger."""
    names = {*sent, *before, *after, REQUESTS, LINES}
    for name in sorted(
        names, key=lambda name: (name.startswith(LINES), not name.startswith(REQUESTS), name)
    ):
        row = CheckRow(name, sent[name], after[name] - before[name])
        if row.sent or row.answered or name in (REQUESTS, LINES):
            yield row


class ServiceClient:
    """A service's API. A context manager."""

    def __init__(self, url: str, admin_token: str = "") -> None:
        """`url` without credentials; the token only if the service is not in local mode."""
        self._url = url
        headers = {"Authorization": f"Bearer {admin_token}"} if admin_token else {}
        self._client = httpx2.Client(headers=headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def totals(self, app: str, start_s: int, end_s: int) -> Totals:
        """What it says of an app over a range.

        Raises:
            NoService: it does not answer as a Dynometer would.
            ConfigError: it wants its admin token.
        """
        totals: Totals = Counter()
        span = {"start": start_s, "end": end_s}
        for metric, label, name in (
            (REQUESTS, "outcome", _OUTCOME),
            ("heroku_errors", "code", _CODE),
        ):
            asked = {"metric": metric, "stat": "sum", "step": "range", "by": label, **span}
            for series in self._get(f"{app}/query", asked).get("series", ()):
                value = series["values"][0] or 0
                totals[name.format(series["labels"][label])] += value
                if metric == REQUESTS:
                    totals[REQUESTS] += value
        ledger = self._get(f"{app}/ledger", span)
        if ledger:
            for name, key in _LEDGER.items():
                totals[name] += ledger[key]
            totals[_UNREADABLE] += sum(ledger["unparsed"].values())
        return totals

    def _get(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._client.get(f"{self._url}/api/v1/apps/{path}", params=parameters)
        except httpx2.ConnectError:
            raise ServiceUnreachable(
                f"no service at {self._url}: start it with {command()} serve"
            ) from None
        except httpx2.TransportError as error:
            raise ServiceUnreachable(
                f"{self._url} does not answer: {error or type(error).__name__}"
            ) from None
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            raise ConfigError(
                f"{self._url} wants its admin token, to compare answers: set DYNOMETER_ADMIN_TOKEN"
            )
        is_json = "json" in response.headers.get("Content-Type", "")
        if is_json and response.status_code == _NOTHING_SAID:
            return {}
        if not is_json or not response.is_success:
            said = response.text.strip().partition("\n")[0][:200]
            raise ServiceUnreachable(
                f"{self._url} answers {response.status_code}, not as a Dynometer: {said}"
            )
        answer: dict[str, Any] = response.json()
        return answer
