"""Turns log lines into a batch: one rollup per minute that the lines touch, and their ledger.

Pure: bytes, the arrival time and an acceptance window in, rollups out. A line that cannot be parsed
is counted by reason and costs none of the lines around it. Every message ends in exactly one entry
of the ledger, so that

    received = counted + ignored + unparsed + too_old + too_new
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from app.rollup.accelerated import FastRollup, merge_rollups, pack, pack_batch
from app.rollup.batch_codec import join_batch, unpack_batch
from app.rollup.bounded_merge import merge_bounded, merge_in_steps
from app.rollup.open_limits import DROPPED
from app.rollup.rollup import DEFAULT_LIMITS, UNLIMITED, CardinalityLimits, Rollup
from app.rollup.time_range import ALWAYS, TimeRange
from parsers import dispatch as heroku
from parsers.framing import Damage, split_in_steps
from parsers.samples import HerokuError, ParseError, Request, RuntimeMetrics, Sample
from parsers.syslog_header import Message, parse_message

MINUTE_S = 60
_MINUTE_MS = 60_000
REPLAY_PAST_S = 7 * 86_400  # the greatest age of lines in an intentional replay
NAMES_MAX = 50_000  # beyond this a rollup is limited immediately, not only when it is packed
FRAMES_PER_STEP = 500  # a large body yields to other requests this often
# Of rollups that are not packed yet. Packing so many names is as long as a step of hostile lines.
ENTRIES_MAX = 500


class AcceptanceWindow(NamedTuple):
    """How far a message's own time may lie before or after its arrival, in seconds.

    Messages outside the window are recorded in the ledger but not counted.
    """

    past_s: int
    future_s: int

    def for_replay(self) -> AcceptanceWindow:
        """The window of an intentional replay, which reaches further back."""
        return self._replace(past_s=max(self.past_s, REPLAY_PAST_S))


class ActivityTimes(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When the app was active, as shown by a batch; Unix seconds.

    `runtime_metrics_s` is the time of the last runtime metrics; 0 for none. `origin` is that of the
    lines (app.storage.interface.apps), encoded; "" for a drain.
    """

    first_s: int
    last_s: int
    runtime_metrics_s: int
    origin: str = ""


NO_ACTIVITY = ActivityTimes(0, 0, 0)


@dataclass(slots=True)
class AggregatedBody:
    """The contents of one or more request bodies, separated by minute.

    The stored ledger belongs to the minute of *arrival*, because it describes the delivery and not
    the app. Here it is still separated by the minutes of the messages. So the lines of some minutes
    can be excluded until the moment of storing, when the active drain is known.
    """

    arrived_s: int
    # By start of the messages' minute; some are packed already. Their own ledgers hold only what
    # the limits dropped.
    rollups: dict[int, FastRollup | bytes]
    ledgers: dict[int, dict[str, int]]  # by the same minutes
    body_ledger: dict[str, int]  # the body as a whole, and messages without an accepted minute
    activity: ActivityTimes
    limits: CardinalityLimits = DEFAULT_LIMITS
    is_duplicate: bool = False  # the store knew the id of the batch, so nothing was counted
    packed_batch: bytes = b""  # the whole batch, while `rollups` are released

    @property
    def ledger(self) -> dict[str, int]:
        """The ledger of all messages in the body."""
        total = dict(self.body_ledger)
        for ledger in self.ledgers.values():
            _add_ledger(total, ledger)
        return total

    @property
    def received(self) -> int:
        """The number of messages in the body."""
        return self.ledger.get("received", 0)

    def pack(self, within: TimeRange = ALWAYS) -> bytes:
        """Pack the batch for the store.

        Messages outside `within` do not count: the ledger only records them, as `other_drain`.
        """
        ledger = dict(self.body_ledger) if within else _as_other_drain(self.body_ledger)
        rollups: dict[int, bytes] = {}
        arrival_minute = self.arrived_s // MINUTE_S * MINUTE_S
        arrival_rollup, limits = FastRollup(), self.limits
        for minute, minute_ledger in self.ledgers.items():
            if minute in within:
                if minute == arrival_minute:
                    arrival_rollup, limits = self._unpacked(minute)
                else:
                    rollups[minute] = self._packed(minute)
                _add_ledger(ledger, minute_ledger)
            else:
                _add_ledger(ledger, _as_other_drain(minute_ledger))
        if "promised" in ledger:  # stays comparable with `received`
            ledger["promised"] = max(0, ledger["promised"] - ledger.get("other_drain", 0))
        _add_ledger(ledger, arrival_rollup.ledger)
        arrival_rollup.ledger = ledger
        rollups[arrival_minute] = pack(arrival_rollup, limits)
        arrival_rollup.ledger = _dropped_names(ledger)
        return join_batch(rollups)

    def pack_rollups(self) -> bytes:
        """Pack the rollups, without any ledger, in the form of app.rollup.batch_codec."""
        return join_batch({minute: self._packed(minute) for minute in self.rollups})

    def pack_minutes(self) -> Generator[None, None, None]:
        """Keep each rollup only in its packed form, which is much smaller; yields after each."""
        for minute in self.rollups:
            self.rollups[minute] = self._packed(minute)
            yield

    def release_rollups(self, data: bytes) -> None:
        """Keep the rollups only as the batch that was packed from this body."""
        self.packed_batch, self.rollups = data, {}

    def restore_rollups(self) -> None:
        """Restore the rollups, which have no ledger of their own, if they were released."""
        for minute, data in unpack_batch(self.packed_batch) if self.packed_batch else ():
            if minute in self.ledgers:
                rollup = merge_rollups([data])
                rollup.ledger = _dropped_names(rollup.ledger)
                self.rollups[minute] = pack(rollup, UNLIMITED)
        self.packed_batch = b""

    def merge(self, body: AggregatedBody) -> Generator[None, None, None]:
        """Add the messages of a body of the same arrival; yields while minutes are packed.

        The result is limited and packed, so it stays small however many names the bodies hold.
        """
        if body.rollups:
            activities = (self.activity, body.activity) if self.rollups else (body.activity,)
            self.activity = merge_activities(*activities)
        _add_ledger(self.body_ledger, body.body_ledger)
        for minute, ledger in body.ledgers.items():
            _add_ledger(self.ledgers.setdefault(minute, {}), ledger)
        for minute in body.rollups:
            data = body._packed(minute)
            if minute in self.rollups:
                yield
                merged = yield from merge_in_steps([self._packed(minute), data], self.limits)
                data = pack(merged, self.limits)
            self.rollups[minute] = data
            yield

    def _packed(self, minute: int) -> bytes:
        rollup = self.rollups[minute]
        return rollup if isinstance(rollup, bytes) else pack(rollup, self.limits)

    def _unpacked(self, minute: int) -> tuple[FastRollup, CardinalityLimits]:
        """The rollup of a minute, and the limits that it needs: what was packed is limited."""
        rollup = self.rollups[minute]
        if isinstance(rollup, bytes):
            return merge_rollups([rollup]), UNLIMITED
        return rollup, self.limits


def merge_activities(*activities: ActivityTimes) -> ActivityTimes:
    """The activity of several batches of one drain."""
    return ActivityTimes(
        min(activity.first_s for activity in activities),
        max(activity.last_s for activity in activities),
        max(activity.runtime_metrics_s for activity in activities),
    )


def merge_batches(first: bytes, second: bytes, limits: CardinalityLimits) -> bytes:
    """Merge two packed batches of an app."""
    rollups = dict(unpack_batch(first))
    for minute, data in unpack_batch(second):
        first_data = rollups.get(minute)
        rollups[minute] = (
            pack(merge_bounded([first_data, data], limits), limits) if first_data else data
        )
    return join_batch(rollups)


def _dropped_names(ledger: dict[str, int]) -> dict[str, int]:
    """The part of a ledger that the limits on names wrote."""
    return {name: values for name, values in ledger.items() if name.startswith(DROPPED)}


def _as_other_drain(ledger: dict[str, int]) -> dict[str, int]:
    return {"other_drain": ledger["received"]} if ledger.get("received") else {}


def _add_ledger(total: dict[str, int], ledger: dict[str, int]) -> None:
    for name, messages in ledger.items():
        total[name] = total.get(name, 0) + messages


class Aggregator:
    """Aggregates messages into one rollup per minute of their own time, and keeps the ledger."""

    def __init__(
        self,
        arrived_s: float,
        acceptance: AcceptanceWindow,
        limits: CardinalityLimits = DEFAULT_LIMITS,
        reads_marks: bool = False,
    ) -> None:
        """
        Args:
            arrived_s: Unix seconds.
            acceptance: the times of lines that count.
            limits: on the names in a rollup.
            reads_marks: whether custom metrics are on for the app.
        """
        self._limits = limits
        self._reads_marks = reads_marks
        self._arrived_s = int(arrived_s)
        self._earliest_ms = int((arrived_s - acceptance.past_s) * 1000)
        self._latest_ms = int((arrived_s + acceptance.future_s) * 1000)
        self._reset()

    def _reset(self) -> None:
        self.rollups: dict[int, Rollup] = {}
        self._ledgers: dict[int, dict[str, int]] = {}
        self._body_ledger: dict[str, int] = {}
        self._first_ms = self._last_ms = self._runtime_metrics_ms = 0
        # Most messages of a batch fall into one minute, which lies entirely within the acceptance
        # window. So the state of that minute is cached, and messages in it need no further checks.
        self._minute = -1
        self._is_minute_accepted = False  # entirely
        self._rollup: Rollup | None = None  # None outside the window
        self._ledger = self._body_ledger

    def add_frames(self, frames: Iterable[bytes | Damage]) -> None:
        """Add frames from parsers.framing; each `Damage` is one unparsed message."""
        messages = []
        for frame in frames:
            if isinstance(frame, Damage):
                self.add_unreadable(frame.reason)
                continue
            try:
                messages.append(parse_message(frame))
            except ParseError as error:
                self.add_unreadable(error.reason)
        self.add_messages(messages)

    def add_body_in_steps(self, data: bytes, start: int = 0) -> Iterator[None]:
        """Add the body that begins at `start` of `data`, in steps of some milliseconds.

        Yields between the steps, so that the caller can let other requests run.
        """
        for number, step in enumerate(split_in_steps(data[start:], FRAMES_PER_STEP)):
            if number:
                yield
            self.add_frames(step)

    def add_body(self, data: bytes, start: int = 0, msg_count: int = 0) -> None:
        """Add the body that begins at `start` of `data`, in one go.

        `msg_count` is the number of messages that the sender promised; 0 if it did not say.
        """
        self.add_promised(msg_count)
        for _ in self.add_body_in_steps(data, start):
            continue

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Add messages that were already parsed."""
        counted = ignored = 0
        parse, reads_marks = heroku.parse, self._reads_marks
        for message in messages:
            at_ms = message.at_ms
            if at_ms // _MINUTE_MS != self._minute or not self._is_minute_accepted:
                self._add_counts(counted, ignored)
                counted = ignored = 0
                self._select_minute(at_ms)
            rollup = self._rollup
            if rollup is not None:
                rollup.messages += 1
                if at_ms > self._last_ms:
                    self._last_ms = at_ms
                elif at_ms < self._first_ms:
                    self._first_ms = at_ms
            try:
                sample = parse(message, reads_marks)
            except ParseError as error:
                self._count_unparsed(self._ledger, error.reason)
                continue
            if sample is None:
                ignored += 1
            elif rollup is None:
                is_old = at_ms < self._earliest_ms
                _count(self._body_ledger, "too_old" if is_old else "too_new")
                _count(self._body_ledger, "received")
            else:
                counted += 1
                if type(sample) is Request:
                    rollup.observe_request(sample, at_ms)
                else:
                    rollup.observe(sample, at_ms)
                    self._inspect_sample(sample, at_ms)
        self._add_counts(counted, ignored)
        if self._rollup is not None and self._rollup.entry_count > NAMES_MAX:
            self._rollup.apply_limits(self._limits)

    def add_unreadable(self, reason: str) -> None:
        """Count an unparsed message; `reason` is one of parsers.samples.REASONS."""
        self._count_unparsed(self._body_ledger, reason)

    def add_promised(self, messages: int) -> None:
        """Record how many messages the sender put into the body (Logplex-Msg-Count)."""
        _count(self._body_ledger, "promised", messages)

    def add_lost(self, messages: int) -> None:
        """Record how many messages the sender reports as lost before they reached us."""
        _count(self._body_ledger, "lost_upstream", messages)

    @property
    def ledger(self) -> dict[str, int]:
        """The ledger of all messages so far."""
        total = dict(self._body_ledger)
        for ledger in self._ledgers.values():
            _add_ledger(total, ledger)
        return total

    def build_body(self) -> AggregatedBody:
        """Return all messages so far as one body."""
        return AggregatedBody(
            self._arrived_s,
            {**self.rollups},
            self._ledgers,
            self._body_ledger,
            self.activity,
            self._limits,
        )

    def take_body(self) -> AggregatedBody:
        """Return all messages so far as one body, and continue without them."""
        body = self.build_body()
        self._reset()
        return body

    @property
    def entry_count(self) -> int:
        """The number of entries in all rollups, a measure of memory."""
        return count_entries(self.rollups.values())

    def pack(self) -> bytes:
        """Pack the batch, with all its messages, for the store."""
        return self.build_body().pack()

    @property
    def time_range(self) -> TimeRange:
        """The minutes of the accepted messages; the minute of arrival if there are none."""
        return covering_range(self.rollups, self._arrived_s)

    @property
    def activity(self) -> ActivityTimes:
        """When the app was active, from its accepted messages; the arrival if there are none."""
        if not self._last_ms:
            return ActivityTimes(self._arrived_s, self._arrived_s, 0)
        return ActivityTimes(
            self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000
        )

    def _select_minute(self, at_ms: int) -> None:
        """Make the minute of this time the current one; outside the window there is no rollup."""
        self._minute = at_ms // _MINUTE_MS
        begin_ms = self._minute * _MINUTE_MS
        self._is_minute_accepted = (
            self._earliest_ms <= begin_ms and begin_ms + _MINUTE_MS <= self._latest_ms
        )
        if not self._earliest_ms <= at_ms <= self._latest_ms:
            self._rollup = None
            self._ledger = self._body_ledger
            return
        start_s = self._minute * MINUTE_S
        if start_s not in self.rollups:
            self.rollups[start_s] = Rollup()
            self._ledgers[start_s] = {}
        self._rollup = self.rollups[start_s]
        self._ledger = self._ledgers[start_s]
        if at_ms < self._first_ms or not self._first_ms:
            self._first_ms = at_ms

    def _inspect_sample(self, sample: Sample, at_ms: int) -> None:
        if isinstance(sample, RuntimeMetrics):
            self._runtime_metrics_ms = max(self._runtime_metrics_ms, at_ms)
        elif isinstance(sample, HerokuError):
            _count(self._ledger, "lost_upstream", sample.lost_messages)

    def _add_counts(self, counted: int, ignored: int) -> None:
        _count(self._ledger, "counted", counted)
        _count(self._ledger, "ignored", ignored)
        _count(self._ledger, "received", counted + ignored)

    def _count_unparsed(self, ledger: dict[str, int], reason: str) -> None:
        _count(ledger, "received")
        _count(ledger, f"unparsed:{reason}")


def count_entries(rollups: Iterable[FastRollup]) -> int:
    """The number of entries in all rollups, a measure of memory."""
    return sum(1 + rollup.entry_count for rollup in rollups)


def covering_range(minutes: Collection[int], arrived_s: int) -> TimeRange:
    """The range from the first of these minutes to the end of the last.

    Without any minutes, it is the minute of arrival.
    """
    starts_s = minutes or (arrived_s // MINUTE_S * MINUTE_S,)
    return TimeRange(min(starts_s), max(starts_s) + MINUTE_S)


def _count(ledger: dict[str, int], name: str, messages: int = 1) -> None:
    if messages:
        ledger[name] = ledger.get(name, 0) + messages


def pack_ledger_entry(arrived_s: float, name: str, messages: int) -> bytes:
    """Pack a batch that only adds messages to one entry of the ledger, such as `duplicate`."""
    minute = int(arrived_s) // MINUTE_S * MINUTE_S
    rollup = FastRollup()
    rollup.ledger[name] = messages
    return pack_batch({minute: rollup})
