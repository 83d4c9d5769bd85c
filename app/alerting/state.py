"""What is remembered of alerts from one minute to the next, as the store keeps it."""

from __future__ import annotations

from typing import Literal

import msgspec

Phase = Literal["pending", "firing", "over"]

HEARD_MINUTES = 60  # that are remembered


class Alert(msgspec.Struct, frozen=True, array_like=True):
    """One rule about one value of its label. Times in Unix seconds.

    phase     pending: it is beyond the limit, not yet for long enough. firing. over: it was, and
              is remembered for a while, so that one that comes again is held for longer
    since_s   the start of the first minute beyond the limit
    fired_s   the end of the minute that made it fire; 0 before
    bad       minutes beyond the limit, one after the other
    quiet     minutes back at the resolve limit, one after the other
    value, limit    of the last minute that was beyond; limit as the value's unit has it
    worst     the value furthest beyond
    last_bad_s    the end of the last minute beyond the limit
    again     how often it had fired shortly before
    told      whether a message says that it fires
    detail    what more there is to say: the dyno that stands out
    parts     the values of the rule's `told_by` that it was about, the first and most first
    """

    rule: str
    key: str
    phase: Phase
    since_s: int
    fired_s: int = 0
    bad: int = 0
    quiet: int = 0
    value: float = 0
    limit: float = 0
    worst: float = 0
    last_bad_s: int = 0
    again: int = 0
    told: bool = False
    detail: str = ""
    parts: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Of this occurrence: the same in the message that tells of it and in the one that ends
        it.
        """
        return f"{self.rule}:{self.key}:{self.since_s}"


class AppAlerts(msgspec.Struct, frozen=True, array_like=True):
    """Of one app. `evaluated_s`: the end of the last minute that was evaluated. `heard`: in which
    of the minutes before it a line came, the last as bit 0. `silent`: minutes without one at the
    end. `asleep`: it said that it would be silent.
    """

    evaluated_s: int
    heard: int = 0
    silent: int = 0
    asleep: bool = False
    alerts: tuple[Alert, ...] = ()


class Mute(msgspec.Struct, frozen=True):
    """An app of which nothing new is told until then, Unix seconds."""

    until_s: int
    since_s: int


class HistoryEntry(msgspec.Struct, frozen=True):
    """An entry of an app's history. `what`: fired, resolved, skipped (minutes that were not
    evaluated), muted, unmuted. `told`: whether it was sent to anybody.
    """

    at_s: int
    what: Literal["fired", "resolved", "skipped", "muted", "unmuted", "undelivered"]
    text: str
    rule: str = ""
    key: str = ""
    since_s: int = 0
    value: float | None = None
    limit: float | None = None
    severity: str = ""
    told: bool = False
    id: str = ""


_encode = msgspec.msgpack.Encoder().encode
unpack_app = msgspec.msgpack.Decoder(AppAlerts).decode
unpack_mute = msgspec.json.Decoder(Mute).decode
unpack_told = msgspec.json.Decoder(HistoryEntry).decode


def pack_app(alerts: AppAlerts) -> bytes:
    """As the store keeps it."""
    return _encode(alerts)


def pack_json(record: Mute | HistoryEntry) -> bytes:
    """As the store keeps it."""
    return msgspec.json.encode(record)
