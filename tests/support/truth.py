"""What senders were told, and whether the service says the same: counted by other means than the
service's own.
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
    """What became of one app's lines, as its senders know it."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # (dyno, status)
    codes: Counter[str] = field(default_factory=Counter)
    service_ms: dict[str, list[int]] = field(default_factory=lambda: {"ok": [], "failed": []})
    messages: int = 0
    announced_lost: int = 0
    uncertain: list[Sequence[SimulatedLine]] = field(default_factory=list)  # stored or not, wholly
    dropped: int = 0  # certainly not stored

    def acknowledged(self, batch: AcknowledgedBatch) -> None:
        """A batch was answered 200."""
        self._take(batch.lines)
        if batch.announced_lost:
            self.messages += 1
            self.announced_lost += batch.announced_lost
            self.codes["L10"] += 1

    def given_up(self, batch: DroppedBatch) -> None:
        """A batch was dropped by its sender."""
        if batch.is_certainly_lost:
            self.dropped += len(batch.lines)
        else:
            self.uncertain.append(batch.lines)

    def _take(self, lines: Sequence[SimulatedLine]) -> None:
        self.messages += len(lines)
        for line in lines:
            if line.code:
                self.codes[line.code] += 1
            if line.status is None:
                continue
            match = _SERVICE.search(line.frame)
            assert match, line.frame
            self.requests[match[1].decode(), line.status] += 1
            if match[2]:
                outcome = "failed" if line.status >= 500 or not line.status else "ok"
                self.service_ms[outcome].append(int(match[2]))

    @property
    def uncertain_messages(self) -> int:
        """Messages of which nobody knows whether they were stored."""
        return sum(map(len, self.uncertain))


class Answers:
    """What the service says of one app over a range."""

    def __init__(self, client: httpx2.Client, app: str, start_s: int, end_s: int) -> None:
        self._client = client
        self._app = app
        self._span = {"start": str(start_s), "end": str(end_s)}

    def query(self, step: str, metric: str, stats: Sequence[str], *by: str, **more: str) -> Any:
        """Values by (labels …, stat), a list along time each."""
        answer = self._client.get(
            f"/api/v1/apps/{self._app}/query",
            params={"metric": metric, "stat": stats, "by": by, "step": step, **self._span, **more},
        )
        if answer.status_code == 404:
            return {}
        assert answer.status_code == 200, answer.text
        return {
            (*(each["labels"][name] for name in by), each["stat"]): each["values"]
            for each in answer.json()["series"]
        }

    def sums(self, step: str, metric: str, *by: str) -> dict[tuple[str, ...], int]:
        """Sums over the range, by labels."""
        found = self.query(step, metric, ["sum"], *by)
        return {key[:-1]: sum(value or 0 for value in values) for key, values in found.items()}

    def ledger(self) -> dict[str, Any]:
        """The books."""
        answer = self._client.get(f"/api/v1/apps/{self._app}/ledger", params=self._span)
        if answer.status_code == 404:
            return dict.fromkeys(_BOOKS, 0) | {"unparsed": {}}
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def counter(self) -> int:
        """Requests, as Prometheus is shown them."""
        text = self._client.get("/metrics", params={"app": self._app}).text
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("heroku_router_requests_total{")
        )


_BOOKS = ("received", "counted", "ignored", "too_old", "too_new", "lost_upstream", "duplicate")


def differences(truth: Truth, answers: Answers) -> Iterator[Difference]:
    """What the service says differently from what its senders were told."""
    uncertain = truth.uncertain_messages
    ledger = answers.ledger()
    balance = sum(ledger[name] for name in ("counted", "ignored", "too_old", "too_new"))
    balance += sum(ledger["unparsed"].values())
    if ledger["received"] != balance:
        yield "books", ledger["received"], balance
    if not truth.messages <= ledger["received"] <= truth.messages + uncertain:
        yield "messages", ledger["received"], (truth.messages, uncertain)
    exact = ledger["received"] == truth.messages
    requests: dict[tuple[str, ...], int] = {
        (dyno, str(status or "")): n for (dyno, status), n in truth.requests.items()
    }
    codes: dict[tuple[str, ...], int] = {(code,): n for code, n in truth.codes.items()}
    for step in STEPS:
        found = answers.sums(step, "requests", "dyno", "status")
        if not _agree(found, requests, exact, uncertain):
            yield f"requests at {step}", found, requests
        found = answers.sums(step, "heroku_errors", "code")
        if not _agree(found, codes, exact, uncertain):
            yield f"codes at {step}", found, codes
    total = sum(truth.requests.values())
    if not total <= answers.counter() <= total + uncertain:
        yield "counter of /metrics", answers.counter(), total
    if exact:
        yield from _percentiles(truth, answers)
        if ledger["lost_upstream"] != truth.announced_lost:
            yield "lost upstream", ledger["lost_upstream"], truth.announced_lost


def _agree(
    found: dict[tuple[str, ...], int],
    told: dict[tuple[str, ...], int],
    exact: bool,
    uncertain: int,
) -> bool:
    if exact:
        return {key: n for key, n in found.items() if n} == told
    more = {key: found.get(key, 0) - n for key, n in told.items()}
    return min(more.values(), default=0) >= 0 and sum(more.values()) <= uncertain


def _percentiles(truth: Truth, answers: Answers) -> Iterator[Difference]:
    for outcome, values in truth.service_ms.items():
        if not values:
            continue
        ranked = sorted(values)
        stats = ["p50", "p95", "p99"]
        found = answers.query("range", "service_time_ms", stats, outcome=outcome)
        for stat in stats:
            rank = max(math.ceil(int(stat[1:]) / 100 * len(ranked)), 1)
            [value] = found[stat,]
            if abs(value - ranked[rank - 1]) > PERCENTILE_ERROR * ranked[rank - 1]:
                yield f"{stat} of {outcome}", value, ranked[rank - 1]
