"""Compares the totals of the senders with the answers of the service.

The totals are counted here without any code of the service.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from app.traffic.logplex_sender import AcknowledgedBatch, DroppedBatch
from app.traffic.simulated_lines import SimulatedLine

PERCENTILE_ERROR = 0.01
STEPS = ("1m", "10m", "1h", "range")
_SERVICE = re.compile(rb" dyno=(\S*) connect=\S* service=(\d*)m?s? ")

Difference = tuple[str, object, object]


@dataclass
class Truth:
    """The totals of one app's lines, by the answers that its senders got."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # (dyno, status)
    codes: Counter[str] = field(default_factory=Counter)
    service_ms: dict[str, list[int]] = field(default_factory=lambda: {"ok": [], "failed": []})
    messages: int = 0
    announced_lost: int = 0
    # Batches that are stored completely or not at all.
    uncertain: list[Sequence[SimulatedLine]] = field(default_factory=list)
    dropped: int = 0  # certainly not stored

    def acknowledged(self, batch: AcknowledgedBatch) -> None:
        """Count a batch that was answered 200."""
        self._add(batch.lines)
        if batch.announced_lost:
            self.messages += 1
            self.announced_lost += batch.announced_lost
            self.codes["L10"] += 1

    def given_up(self, batch: DroppedBatch) -> None:
        """Count a batch that its sender dropped."""
        if batch.is_certainly_lost:
            self.dropped += len(batch.lines)
        else:
            self.uncertain.append(batch.lines)

    def _add(self, lines: Sequence[SimulatedLine]) -> None:
        self.messages += len(lines)
        for line in lines:
            if line.code:
                self.codes[line.code] += 1
            self.announced_lost += line.lost
            if line.status is None:
                continue
            match = _SERVICE.search(line.frame)
            assert match, line.frame
            self.requests[match[1].decode(), line.status] += 1
            if match[1] and match[2]:  # without a dyno there is no time, even if it says 0ms
                outcome = "failed" if line.status >= 500 or not line.status else "ok"
                self.service_ms[outcome].append(int(match[2]))

    @property
    def uncertain_messages(self) -> int:
        """Number of messages that may or may not be stored."""
        return sum(map(len, self.uncertain))


class Answers:
    """The answers of the service for one app and time range."""

    def __init__(self, client: httpx2.Client, app: str, start_s: int, end_s: int) -> None:
        self._client = client
        self._app = app
        self._time_range = {"start": str(start_s), "end": str(end_s)}

    def query(self, step: str, metric: str, stats: Sequence[str], *by: str, **more: str) -> Any:
        """A list of values over time for each (labels …, stat)."""
        answer = self._client.get(
            f"/api/v1/apps/{self._app}/query",
            params={
                "metric": metric,
                "stat": stats,
                "by": by,
                "step": step,
                **self._time_range,
                **more,
            },
        )
        if answer.status_code == 404:
            return {}
        assert answer.status_code == 200, answer.text
        return {
            (*(series["labels"][name] for name in by), series["stat"]): series["values"]
            for series in answer.json()["series"]
        }

    def sums(self, step: str, metric: str, *by: str) -> dict[tuple[str, ...], int]:
        """Sums over the range, by labels."""
        series = self.query(step, metric, ["sum"], *by)
        return {key[:-1]: sum(value or 0 for value in values) for key, values in series.items()}

    def ledger(self) -> dict[str, Any]:
        """The ledger."""
        answer = self._client.get(f"/api/v1/apps/{self._app}/ledger", params=self._time_range)
        if answer.status_code == 404:
            return dict.fromkeys(_LEDGER_FIELDS, 0) | {"unparsed": {}}
        assert answer.status_code == 200, answer.text
        ledger: dict[str, Any] = answer.json()
        return ledger

    def counter(self) -> int:
        """The number of requests in /metrics."""
        text = self._client.get("/metrics", params={"app": self._app}).text
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("heroku_router_requests_total{")
        )


_LEDGER_FIELDS = (
    "received",
    "counted",
    "ignored",
    "too_old",
    "too_new",
    "lost_upstream",
    "duplicate",
)


def differences(truth: Truth, answers: Answers) -> Iterator[Difference]:
    """Yield every difference between the service's answers and the senders' totals."""
    uncertain = truth.uncertain_messages
    ledger = answers.ledger()
    balance = sum(ledger[name] for name in ("counted", "ignored", "too_old", "too_new"))
    balance += sum(ledger["unparsed"].values())
    if ledger["received"] != balance:
        yield "ledger", ledger["received"], balance
    if not truth.messages <= ledger["received"] <= truth.messages + uncertain:
        yield "messages", ledger["received"], (truth.messages, uncertain)
    exact = ledger["received"] == truth.messages
    requests: dict[tuple[str, ...], int] = {
        (dyno, str(status or "")): n for (dyno, status), n in truth.requests.items()
    }
    codes: dict[tuple[str, ...], int] = {(code,): n for code, n in truth.codes.items()}
    for step in STEPS:
        actual = answers.sums(step, "requests", "dyno", "status")
        if not _agree(actual, requests, exact, uncertain):
            yield f"requests at {step}", actual, requests
        actual = answers.sums(step, "heroku_errors", "code")
        if not _agree(actual, codes, exact, uncertain):
            yield f"codes at {step}", actual, codes
    total = sum(truth.requests.values())
    if not total <= answers.counter() <= total + uncertain:
        yield "counter of /metrics", answers.counter(), total
    if exact:
        yield from _percentile_differences(truth, answers)
        if ledger["lost_upstream"] != truth.announced_lost:
            yield "lost upstream", ledger["lost_upstream"], truth.announced_lost


def _agree(
    actual: dict[tuple[str, ...], int],
    expected: dict[tuple[str, ...], int],
    exact: bool,
    uncertain: int,
) -> bool:
    if exact:
        return {key: n for key, n in actual.items() if n} == expected
    surplus = {key: actual.get(key, 0) - n for key, n in expected.items()}
    return min(surplus.values(), default=0) >= 0 and sum(surplus.values()) <= uncertain


def _percentile_differences(truth: Truth, answers: Answers) -> Iterator[Difference]:
    for outcome, values in truth.service_ms.items():
        if not values:
            continue
        sorted_values = sorted(values)
        stats = ["p50", "p95", "p99"]
        series = answers.query("range", "service_time_ms", stats, outcome=outcome)
        for stat in stats:
            rank = max(math.ceil(int(stat[1:]) / 100 * len(sorted_values)), 1)
            [value] = series[stat,]
            if abs(value - sorted_values[rank - 1]) > PERCENTILE_ERROR * sorted_values[rank - 1]:
                yield f"{stat} of {outcome}", value, sorted_values[rank - 1]
