"""The state of alerts between two evaluations, as the store holds it."""

from __future__ import annotations

from typing import Literal

import msgspec

Phase = Literal["pending", "firing", "over"]

ACTIVITY_MINUTES = 60  # bits of AppAlerts.activity_mask

# The names that `dynometer alerts list --json` prints; the store holds positions, not names.
_PRINTED_NAMES = {
    "breach_minutes": "bad",
    "quiet_minutes": "quiet",
    "last_breach_s": "last_bad_s",
    "repeat_count": "again",
    "is_notified": "told",
}


class Alert(msgspec.Struct, frozen=True, array_like=True, rename=_PRINTED_NAMES):
    """One rule applied to one value of its label. Times in Unix seconds.

    phase           pending: beyond the limit, but not yet for long enough. firing. over: resolved;
                    it is remembered for a while, and if it fires again it takes longer to resolve
    since_s         the start of the first minute beyond the limit
    fired_s         the end of the minute that made it fire; 0 before
    breach_minutes  consecutive minutes beyond the limit
    quiet_minutes   consecutive minutes back at the resolve limit
    value, limit    of the last minute beyond the limit, in the unit of the value
    worst           the value furthest beyond the limit
    last_breach_s   the end of the last minute beyond the limit
    repeat_count    how often it had fired shortly before
    is_notified     whether a notification of its firing was queued
    detail          the dyno that differs from the others
    parts           the values of the rule's `told_by` label, in order of appearance, largest first
    summary         the finding in a sentence or two, for rules about findings; "" for others
    """

    rule: str
    key: str
    phase: Phase
    since_s: int
    fired_s: int = 0
    breach_minutes: int = 0
    quiet_minutes: int = 0
    value: float = 0
    limit: float = 0
    worst: float = 0
    last_breach_s: int = 0
    repeat_count: int = 0
    is_notified: bool = False
    detail: str = ""
    parts: tuple[str, ...] = ()
    summary: str = ""

    @property
    def id(self) -> str:
        """The id of this occurrence, the same in the firing and the resolved notification."""
        return f"{self.rule}:{self.key}:{self.since_s}"


class AppAlerts(msgspec.Struct, frozen=True, array_like=True):
    """The alerts of one app.

    evaluated_s     the end of the last evaluated minute, Unix seconds
    activity_mask   the minutes before it that had log lines, the last minute as bit 0
    silent_minutes  consecutive minutes without a line, up to that time
    is_asleep       the app's dynos idle (Eco), so silence is expected
    """

    evaluated_s: int
    activity_mask: int = 0
    silent_minutes: int = 0
    is_asleep: bool = False
    alerts: tuple[Alert, ...] = ()

    @property
    def is_resolved(self) -> bool:
        """Whether no alert fires, and no resolution is left to be sent."""
        return not any(alert.phase == "firing" or alert.is_notified for alert in self.alerts)


class Mute(msgspec.Struct, frozen=True):
    """No new notification about an app is sent until `until_s`, Unix seconds.

    until_resolved  an acknowledgement: it ends earlier, once no alert of the app fires any more
    by              the name of a person; "" if unknown
    """

    until_s: int
    since_s: int
    until_resolved: bool = False
    by: str = ""


class HistoryEntry(msgspec.Struct, frozen=True):
    """An entry of an app's history. `skipped`: minutes that were not evaluated. `undelivered`: a
    notification that was given up. `told`: whether a notification of it was sent.
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
unpack_app_alerts = msgspec.msgpack.Decoder(AppAlerts).decode
unpack_mute = msgspec.json.Decoder(Mute).decode
unpack_history_entry = msgspec.json.Decoder(HistoryEntry).decode


def pack_app_alerts(alerts: AppAlerts) -> bytes:
    """Encode alerts for the store (MessagePack)."""
    return _encode(alerts)


def pack_json(record: Mute | HistoryEntry) -> bytes:
    """Encode a record for the store (JSON)."""
    return msgspec.json.encode(record)
