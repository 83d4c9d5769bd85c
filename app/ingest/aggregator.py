"""From log lines to a batch: one small rollup per minute the lines touch, and the ledger of what
became of them.

Pure: bytes, the time of arrival and a horizon in, rollups out. What cannot be read is counted, by
reason, and never costs the lines around it. Every message ends in exactly one place of the ledger,
so that

    received = counted + ignored + unparsed + too_old + too_new
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import msgspec

from app.rollup.accelerated import FastRollup, pack_batch
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.time_range import ALWAYS, TimeRange
from parsers import dispatch as heroku
from parsers.framing import Damage, split
from parsers.samples import HerokuError, ParseError, Request, RuntimeMetrics, Sample
from parsers.syslog_header import Message, parse_message

MINUTE_S = 60
_MINUTE_MS = 60_000
NAMES_MAX = 50_000  # a rollup with more is bounded at once, not only when it is packed
FRAMES_PER_TURN = 1_000  # a large body lets other requests run after so many frames, about 5 ms


class AcceptanceWindow(NamedTuple):
    """How far a message's own time may lie from its arrival for it to be counted, in seconds."""

    past_s: int
    future_s: int


class ActivityTimes(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a batch says that the app lived, in Unix seconds; `runtime_metrics_s` 0 for never."""

    first_s: int
    last_s: int
    runtime_metrics_s: int


NOT_SEEN = ActivityTimes(0, 0, 0)  # what tells nothing of when the app lived


@dataclass(slots=True)
class AggregatedBody:
    """What a body comes to, by minute, so that a part of it can be left out to the second it is
    stored.

    The ledger is kept by minute of *arrival*: it says how the stream fared, not the app. Here it is
    still apart by the messages' own minutes.
    """

    arrived_s: int
    rollups: dict[int, FastRollup]  # by the minute of the messages, their ledger empty
    ledgers: dict[int, dict[str, int]]  # what became of the messages of each minute
    loose: dict[str, int]  # of messages that have no minute, and of the body as a whole
    activity: ActivityTimes
    limits: CardinalityLimits = DEFAULT_LIMITS

    @property
    def received(self) -> int:
        """Messages in the body."""
        return sum(ledger.get("received", 0) for ledger in (self.loose, *self.ledgers.values()))

    def packed(self, within: TimeRange = ALWAYS) -> bytes:
        """The batch as the store keeps it. Messages outside `within` are only booked, as
        `other_drain`.
        """
        books = dict(self.loose) if within else _all_of_another_drain(self.loose)
        inside: dict[int, FastRollup] = {}
        for minute, ledger in self.ledgers.items():
            if minute in within:
                inside[minute] = self.rollups[minute]
                _add(books, ledger)
            else:
                _add(books, _all_of_another_drain(ledger))
        if "promised" in books:
            books["promised"] = max(0, books["promised"] - books.get("other_drain", 0))
        minute = self.arrived_s // MINUTE_S * MINUTE_S
        arrival = inside.setdefault(minute, FastRollup())
        arrival.ledger = books
        packed = pack_batch(inside, self.limits)
        arrival.ledger = {}
        return packed


def _all_of_another_drain(ledger: dict[str, int]) -> dict[str, int]:
    return {"other_drain": ledger["received"]} if ledger.get("received") else {}


def _add(books: dict[str, int], ledger: dict[str, int]) -> None:
    for name, messages in ledger.items():
        books[name] = books.get(name, 0) + messages


class Aggregator:
    """Sums messages up into one rollup per minute of their own time, and keeps the books."""

    def __init__(
        self,
        arrived_s: float,
        acceptance: AcceptanceWindow,
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self.rollups: dict[int, Rollup] = {}
        self._ledgers: dict[int, dict[str, int]] = {}
        self._loose: dict[str, int] = {}
        self._arrived_s = int(arrived_s)
        self._earliest_ms = int((arrived_s - acceptance.past_s) * 1000)
        self._latest_ms = int((arrived_s + acceptance.future_s) * 1000)
        self._first_ms = self._last_ms = self._runtime_metrics_ms = 0
        # Most messages of a batch lie in the same minute, and that wholly within the horizon.
        self._minute = -1
        self._all_inside = False
        self._current: Rollup | None = None
        self._books = self._loose

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

    def turns(self, data: bytes, start: int = 0) -> Iterator[None]:
        """Take a whole body, which begins at `start`; yields where others may run before the next
        turn.
        """
        frames = split(data[start:])
        turn = list(islice(frames, FRAMES_PER_TURN))
        while turn:
            self.add_frames(turn)
            turn = list(islice(frames, FRAMES_PER_TURN))
            if turn:
                yield

    def add_body(self, data: bytes, start: int = 0, promised: int = 0) -> None:
        """The same at one go; so many messages were promised to be in it."""
        self.add_promised(promised)
        for _ in self.turns(data, start):
            continue

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Take messages."""
        counted = ignored = 0
        parse = heroku.parse
        for message in messages:
            at_ms = message.at_ms
            if at_ms // _MINUTE_MS != self._minute or not self._all_inside:
                self._book(counted, ignored)
                counted = ignored = 0
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
                self._book_unreadable(self._books, error.reason)
                continue
            if sample is None:
                ignored += 1
            elif rollup is None:
                _count(self._loose, "too_old" if at_ms < self._earliest_ms else "too_new")
                _count(self._loose, "received")
            else:
                counted += 1
                if type(sample) is Request:
                    rollup.observe_request(sample, at_ms)
                else:
                    rollup.observe(sample, at_ms)
                    self._note(sample, at_ms)
        self._book(counted, ignored)
        if self._current is not None and self._current.entry_count > NAMES_MAX:
            self._current.apply_limits(self._limits)

    def add_unreadable(self, reason: str) -> None:
        """Take a message that cannot be read, for a reason of parsers.samples.REASONS."""
        self._book_unreadable(self._loose, reason)

    def add_promised(self, messages: int) -> None:
        """Record how many messages the sender says it put into the batch (Logplex-Msg-Count)."""
        _count(self._loose, "promised", messages)

    @property
    def ledger(self) -> dict[str, int]:
        """What became of all messages so far."""
        books = dict(self._loose)
        for ledger in self._ledgers.values():
            _add(books, ledger)
        return books

    def build_body(self) -> AggregatedBody:
        """What the messages taken so far come to."""
        return AggregatedBody(
            self._arrived_s, self.rollups, self._ledgers, self._loose, self.activity, self._limits
        )

    def packed(self) -> bytes:
        """The whole batch, as the store keeps it."""
        return self.build_body().packed()

    @property
    def lines(self) -> TimeRange:
        """The minutes that the messages within the horizon touch; that of its arrival when there
        are none.
        """
        return touched(self.rollups, self._arrived_s)

    @property
    def activity(self) -> ActivityTimes:
        """When the messages within the horizon say that the app lived; its arrival when there are
        none.
        """
        if not self._last_ms:
            return ActivityTimes(self._arrived_s, self._arrived_s, 0)
        return ActivityTimes(
            self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000
        )

    def _turn_to(self, at_ms: int) -> None:
        """Make the rollup of this time's minute the current one; None outside the horizon."""
        self._minute = at_ms // _MINUTE_MS
        begin_ms = self._minute * _MINUTE_MS
        self._all_inside = (
            self._earliest_ms <= begin_ms and begin_ms + _MINUTE_MS <= self._latest_ms
        )
        inside = self._earliest_ms <= at_ms <= self._latest_ms
        if not inside:
            self._current = None
            self._books = self._loose
            return
        start_s = self._minute * MINUTE_S
        if start_s not in self.rollups:
            self.rollups[start_s] = Rollup()
            self._ledgers[start_s] = {}
        self._current = self.rollups[start_s]
        self._books = self._ledgers[start_s]
        if at_ms < self._first_ms or not self._first_ms:
            self._first_ms = at_ms

    def _note(self, sample: Sample, at_ms: int) -> None:
        if isinstance(sample, RuntimeMetrics):
            self._runtime_metrics_ms = max(self._runtime_metrics_ms, at_ms)
        elif isinstance(sample, HerokuError):
            _count(self._books, "lost_upstream", sample.lost_messages)

    def _book(self, counted: int, ignored: int) -> None:
        _count(self._books, "counted", counted)
        _count(self._books, "ignored", ignored)
        _count(self._books, "received", counted + ignored)

    def _book_unreadable(self, books: dict[str, int], reason: str) -> None:
        _count(books, "received")
        _count(books, f"unparsed:{reason}")


def touched(minutes: Collection[int], arrived_s: int) -> TimeRange:
    """From the first of these minutes to the end of the last; of none, that of the arrival."""
    some = minutes or (arrived_s // MINUTE_S * MINUTE_S,)
    return TimeRange(min(some), max(some) + MINUTE_S)


def _count(books: dict[str, int], name: str, messages: int = 1) -> None:
    if messages:
        books[name] = books.get(name, 0) + messages


def pack_note(arrived_s: float, name: str, messages: int) -> bytes:
    """A batch that only says something in the ledger: that so many messages were, as an example,
    `duplicate`.
    """
    minute = int(arrived_s) // MINUTE_S * MINUTE_S
    sums = FastRollup()
    sums.ledger[name] = messages
    return pack_batch({minute: sums})
