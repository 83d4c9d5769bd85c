"""From log lines to a batch: one small rollup per minute the lines touch, and the ledger of what
became of them.

Pure: bytes, the time of arrival and a horizon in, rollups out. What cannot be read is counted, by
reason, and never costs the lines around it. Every message ends in exactly one place of the ledger,
so that

    received = counted + ignored + unparsed + too_old + too_new
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.batch import pack_batch
from app.rollup import Rollup
from parsers import heroku
from parsers.framing import Damage
from parsers.sample import HerokuError, ParseError, Readings, Request, Sample
from parsers.syslog import Message, parse_message

MINUTE_S = 60
_MINUTE_MS = 60_000


class Horizon(NamedTuple):
    """How far a message's own time may lie from its arrival for it to be counted, in seconds."""

    past_s: int
    future_s: int


class Seen(NamedTuple):
    """When a batch says that the app lived, in Unix seconds; `runtime_metrics_s` 0 for never."""

    first_s: int
    last_s: int
    runtime_metrics_s: int


class Aggregator:
    """Sums messages up into one rollup per minute of their own time.

    The ledger is kept by minute of *arrival*, in the rollup of that minute: it says how the stream
    fared, not the app.
    """

    def __init__(self, arrived_s: float, horizon: Horizon) -> None:
        self.rollups: dict[int, Rollup] = {}
        self._arrived_s = int(arrived_s)
        self.arrival_minute = self._arrived_s // MINUTE_S * MINUTE_S
        self.ledger = self._rollup(self.arrival_minute).ledger
        self._earliest_ms = int((arrived_s - horizon.past_s) * 1000)
        self._latest_ms = int((arrived_s + horizon.future_s) * 1000)
        self._first_ms = self._last_ms = self._runtime_metrics_ms = 0
        # Most messages of a batch lie in the same minute, and that wholly within the horizon.
        self._minute = -1
        self._all_inside = False
        self._current: Rollup | None = None

    def add_frames(self, frames: Iterable[bytes | Damage]) -> None:
        """Take frames as parsers.framing yields them; damage is one message, unparsed."""
        messages = []
        for frame in frames:
            if isinstance(frame, Damage):
                self.add_unreadable("frame")
                continue
            try:
                messages.append(parse_message(frame))
            except ParseError as error:
                self.add_unreadable(error.reason)
        self.add_messages(messages)

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Take messages."""
        counted = ignored = 0
        parse = heroku.parse
        for message in messages:
            at_ms = message.at_ms
            if at_ms // _MINUTE_MS != self._minute or not self._all_inside:
                self._turn_to(at_ms)
            rollup = self._current
            if rollup is not None:
                rollup.messages += 1
                if at_ms > self._last_ms:
                    self._last_ms = at_ms
                elif at_ms < self._first_ms:
                    self._first_ms = at_ms
            try:
                sample = parse(message)
            except ParseError as error:
                self.add_unreadable(error.reason)
                continue
            if sample is None:
                ignored += 1
            elif rollup is None:
                self._count("too_old" if at_ms < self._earliest_ms else "too_new")
                self._count("received")
            else:
                counted += 1
                if type(sample) is Request:
                    rollup.observe_request(sample, at_ms)
                else:
                    rollup.observe(sample, at_ms)
                    self._note(sample, at_ms)
        self._count("counted", counted)
        self._count("ignored", ignored)
        self._count("received", counted + ignored)

    def add_unreadable(self, reason: str) -> None:
        """Take a message that cannot be read, for a reason of parsers.sample.REASONS."""
        self._count("received")
        self._count(f"unparsed:{reason}")

    def add_promised(self, messages: int) -> None:
        """Record how many messages the sender says it put into the batch (Logplex-Msg-Count)."""
        self._count("promised", messages)

    @property
    def received(self) -> int:
        """Messages taken so far."""
        return self.ledger.get("received", 0)

    @property
    def seen(self) -> Seen:
        """When the messages within the horizon say that the app lived; its arrival when there are
        none.
        """
        if not self._last_ms:
            return Seen(self._arrived_s, self._arrived_s, 0)
        return Seen(self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000)

    def packed(self) -> bytes:
        """The batch, as the store keeps it."""
        return pack_batch(self.rollups)

    def _turn_to(self, at_ms: int) -> None:
        """Make the rollup of this time's minute the current one; None outside the horizon."""
        self._minute = at_ms // _MINUTE_MS
        begin_ms = self._minute * _MINUTE_MS
        self._all_inside = (
            self._earliest_ms <= begin_ms and begin_ms + _MINUTE_MS <= self._latest_ms
        )
        inside = self._earliest_ms <= at_ms <= self._latest_ms
        self._current = self._rollup(self._minute * MINUTE_S) if inside else None
        if inside and (at_ms < self._first_ms or not self._first_ms):
            self._first_ms = at_ms

    def _note(self, sample: Sample, at_ms: int) -> None:
        if isinstance(sample, Readings):
            self._runtime_metrics_ms = max(self._runtime_metrics_ms, at_ms)
        elif isinstance(sample, HerokuError):
            self._count("lost_upstream", sample.lost_messages)

    def _rollup(self, minute: int) -> Rollup:
        rollup = self.rollups.get(minute)
        if rollup is None:
            rollup = self.rollups[minute] = Rollup()
        return rollup

    def _count(self, name: str, messages: int = 1) -> None:
        if messages:
            self.ledger[name] = self.ledger.get(name, 0) + messages


def duplicate_ledger(arrived_s: float, messages: int) -> bytes:
    """A batch that says only that this many messages came a second time and were not counted
    again.
    """
    minute = int(arrived_s) // MINUTE_S * MINUTE_S
    rollup = Rollup()
    rollup.ledger["duplicate"] = messages
    return pack_batch({minute: rollup})
