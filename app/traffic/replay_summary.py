"""The summary of a replay: the service's account of each line, in words that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from app.query.delivery import Delivery
from app.traffic.batch_sender import Target
from parsers.error_codes import explain, no_runtime_metrics
from parsers.samples import (
    REASONS,
    Event,
    HerokuError,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    StateChange,
)

KINDS = {
    Request: "requests",
    RuntimeMetrics: "runtime metrics",
    Measurements: "other measurements",
    HerokuError: "error lines",
    StateChange: "state changes",
    ProcessExit: "exits",
    Event: "events",
}
_UNPARSED = "unparsed:"


class Account:
    """The service's account of all batches, and the kinds of the lines that it counted."""

    def __init__(self) -> None:
        self.ledger: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.first_s = self.last_s = 0
        self.is_estimate = False  # the service gave none, so the lines were counted here

    def add(self, delivery: Delivery, samples: Sequence[tuple[int, str]]) -> None:
        """Add a batch. `samples`: Unix ms and kind of each of its lines that has a sample."""
        self.ledger.update(delivery.ledger)
        self.errors.update(delivery.errors)
        if delivery.ledger.get("counted"):
            self.kinds.update(
                kind
                for at_ms, kind in samples
                if delivery.earliest_ms <= at_ms <= delivery.latest_ms
            )
        if delivery.last_s:
            self.extend(delivery.first_s)
            self.extend(delivery.last_s)

    def extend(self, at_s: int) -> None:
        """Extend the time range to a line of this Unix time."""
        self.first_s = min(at_s, self.first_s or at_s)
        self.last_s = max(at_s, self.last_s)

    def describe(self, *, is_shifted: bool) -> Iterator[str]:
        """A line for each result. Their numbers add up to the lines sent.

        `is_shifted`: the times were moved, so that the last line is current.
        """
        ledger = self.ledger
        texts = _RESULTS | (_SHIFTED_RESULTS if is_shifted else {})
        yield f"Counted         {self._counted_in_words(is_shifted)}"
        if self.errors:
            codes = sorted(self.errors.items(), key=lambda item: (-item[1], item[0]))
            words = [f"{lines:,} {code} ({explain(code).title})" for code, lines in codes]
            yield f"  with errors   {', '.join(words)}"
        yield f"Ignored         {ledger['ignored']:,} (application output, lines without a metric)"
        reasons = {name: lines for name, lines in ledger.items() if name.startswith(_UNPARSED)}
        yield f"Not understood  {sum(reasons.values()):,}"
        for name, lines in sorted(reasons.items()):
            reason = name.removeprefix(_UNPARSED)
            yield f"                {lines:,} {reason}: {REASONS.get(reason, reason)}"
        for name, text in texts.items():
            if ledger[name]:
                yield text.format(ledger[name])

    def _counted_in_words(self, is_shifted: bool) -> str:
        ledger = self.ledger
        if ledger["counted"]:
            kinds = [f"{self.kinds[kind]:,} {kind}" for kind in KINDS.values() if self.kinds[kind]]
            return f"{ledger['counted']:,}: {', '.join(kinds)}"
        texts = _REASONS | (_SHIFTED_REASONS if is_shifted else {})
        reasons = [text for name, text in texts.items() if ledger[name]]
        if len(reasons) != 1:
            return "0"
        is_mixed = ledger["received"] > sum(ledger[name] for name in _REASONS)
        return f"0: all lines {'with a metric ' if is_mixed else ''}{reasons[0]}"


_RESULTS = {  # that are rare
    "too_old": "Too old         {:,} (over 7 days; --shift-to-now moves them)",
    "too_new": "Too new         {:,} (in the future; --shift-to-now moves them)",
    "duplicate": "Duplicate       {:,} (the service had counted them before)",
    "lost_upstream": "Lost before     {:,} more lines, says Heroku in this log (L10 and others)",
    "spooled": "Waiting         {:,} are on the service's disk until its store is available",
}
_SHIFTED_RESULTS = {
    "too_old": "Too old         {:,} (over 7 days before the last line)",
    "too_new": "Too new         {:,} (in the future: the service's clock differs)",
}
_REASONS = {  # why no line was counted, if there was only one reason
    "too_old": "are over 7 days old",
    "too_new": "lie in the future",
    "duplicate": "had been counted before",
}
_SHIFTED_REASONS = {"too_old": "lie over 7 days before the last line"}


def addresses(account: Account, target: Target) -> Iterator[str]:
    """The addresses that show exactly the time range of the lines."""
    if not account.last_s:
        return
    time_range = f"start={_second(account.first_s)}&end={_second(account.last_s + 1)}"
    yield f"See             {target.url}/apps/{target.app}?{time_range}"
    yield (
        f"                {target.url}/api/v1/apps/{target.app}/query"
        f"?metric=service_time_ms&stat=p50&stat=p95&{time_range}"
    )


def hints(account: Account, target: Target) -> Iterator[str]:
    """Sentences about the account that people should know."""
    if account.is_estimate:
        yield "The service gives no account of replayed lines. They were counted here instead."
    if account.kinds[KINDS[Request]] and not account.kinds[KINDS[RuntimeMetrics]]:
        yield no_runtime_metrics(target.app)


def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
