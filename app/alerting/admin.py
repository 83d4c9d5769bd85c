"""Manages rules, channels and mutes, for the command line and the API.

No result contains a secret, except the key of a new webhook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from app.alerting.channels.channel import (
    CHANNELS_MAX,
    Channel,
    ChannelHealth,
    pack_channel,
    unpack_health,
)
from app.alerting.channels.kinds import complete_and_check
from app.alerting.conditions import missing_history
from app.alerting.config import read_config
from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.former_rules import COMMON_FIELDS, FORMER_RULES
from app.alerting.notification import compose_test
from app.alerting.outbox import enqueue
from app.alerting.rule import RULES_MAX, SERVICE, Rule, RuleError, build_rule, pack_rule
from app.alerting.state import HistoryEntry, Mute, pack_json
from app.alerting.status import AlertsOverview, AlertStatusReader, read_history, read_overview
from app.alerting.wording import app_in_words, utc_time
from app.rollup.resolutions import DAY_S
from app.storage.interface.alerts import AlertChange, AlertStore, AlertTable
from app.support.errors import UserError

MUTE_S_MAX = 30 * DAY_S
ACKNOWLEDGED_S = DAY_S  # then somebody should look again
NAME_LENGTH_MAX = 40  # of a person
_DEFAULTS = {rule.name: rule for rule in DEFAULT_RULES}


class AlertAdminError(UserError):
    """A change is not possible; the message says why, and what to do instead."""


class AlertAdminStore(AlertStore, AlertStatusReader, Protocol):
    """What the administration of alerts needs of the store."""


class AlertAdmin:
    """Manages the configuration of alerts in a store."""

    def __init__(
        self, store: AlertAdminStore, clock: Callable[[], float], hours_kept_s: int
    ) -> None:
        """`hours_kept_s`: how long hours are kept, in the store or its archive."""
        self._store = store
        self._clock = clock
        self._hours_kept_s = hours_kept_s

    async def overview(self) -> AlertsOverview:
        """The configuration and the firing alerts."""
        return await read_overview(self._store)

    async def history(self, apps: Sequence[str], count: int) -> list[tuple[str, HistoryEntry]]:
        """The history of these apps, or of all apps if none is given; newest first."""
        return await read_history(self._store, apps, count)

    # --- rules --------------------------------------------------------------------------------

    async def put_rule(self, name: str, fields: Mapping[str, Any]) -> Rule:
        """Create a rule, or change these fields of an existing one.

        A limit for a built-in name changes the rule of that name that had one (former_rules).

        Raises:
            RuleError: the result is not a valid rule, or compares with a time that is not kept.
            AlertAdminError: there are too many rules.
        """
        config = await read_config(self._store)
        existing = config.rules.get(name)
        is_about_limits = not fields.keys() <= COMMON_FIELDS and "kind" not in fields
        if name not in config.custom_names and (existing is None or is_about_limits):
            existing = FORMER_RULES.get(name, existing)
        existing_fields = msgspec.to_builtins(existing) if existing is not None else {"title": name}
        rule = build_rule({**existing_fields, **fields, "name": name})
        if rule.enabled and (reason := missing_history(rule, self._hours_kept_s)):
            raise RuleError(reason)
        if len(config.custom_names - {name}) >= RULES_MAX:
            raise AlertAdminError(
                f"there are already {RULES_MAX} custom rules; remove one first with "
                "dynometer alerts remove"
            )
        await self._write(AlertTable.RULES, name, pack_rule(rule))
        return rule

    async def remove_rule(self, name: str) -> Rule | None:
        """Remove a custom rule; returns the built-in rule of that name, which applies again.

        Raises:
            AlertAdminError: there is no such custom rule.
        """
        config = await read_config(self._store)
        if name not in config.custom_names:
            if name in _DEFAULTS:
                raise AlertAdminError(
                    f"{name} is built in and cannot be removed. To disable it: "
                    f"dynometer alerts off {name}"
                )
            raise AlertAdminError(f"there is no rule {name}. To list rules: dynometer alerts list")
        await self._write(AlertTable.RULES, name, b"")
        return _DEFAULTS.get(name)

    # --- channels -----------------------------------------------------------------------------

    async def add_channel(self, channel: Channel) -> Channel:
        """Add a channel, which is notified from now on; returns it with its defaults.

        Raises:
            ChannelError: it is not valid.
            AlertAdminError: its name is in use, or there are too many channels.
        """
        channel = complete_and_check(channel)
        existing = (await read_config(self._store)).channels
        if channel.name in existing:
            raise AlertAdminError(
                f"channel {channel.name} already exists. Choose another name, or first run "
                f"dynometer alerts channel remove {channel.name}"
            )
        if len(existing) >= CHANNELS_MAX:
            raise AlertAdminError(
                f"there are already {CHANNELS_MAX} channels; remove one first with "
                "dynometer alerts channel remove"
            )
        await self._store.change_alerts(
            [
                AlertChange(AlertTable.HEALTH, channel.name, b""),
                AlertChange(AlertTable.CHANNELS, channel.name, pack_channel(channel)),
            ]
        )
        return channel

    async def remove_channel(self, name: str) -> None:
        """Remove a channel; the worker then drops the notifications queued for it.

        Raises:
            AlertAdminError: there is no such channel.
        """
        await self._channel(name)
        await self._write(AlertTable.CHANNELS, name, b"")

    async def test(self, name: str) -> str:
        """Put a test notification into the outbox; returns its entry, which is removed on delivery.

        Raises:
            AlertAdminError: there is no such channel.
        """
        channel = await self._channel(name)
        now_s = int(self._clock())
        (change,) = enqueue(compose_test(name, now_s), [channel], now_s)
        # Without its health record the channel is tried now, even if it failed a minute ago.
        await self._store.change_alerts([change, AlertChange(AlertTable.HEALTH, name, b"")])
        return change.field

    async def is_queued(self, entry: str) -> bool:
        """Whether an entry is still in the outbox."""
        return entry in (await self._store.alert_tables(AlertTable.OUTBOX))[0]

    async def health(self, name: str) -> ChannelHealth:
        """The health of a channel."""
        return unpack_health((await self._store.alert_tables(AlertTable.HEALTH))[0].get(name))

    async def _channel(self, name: str) -> Channel:
        channels = (await read_config(self._store)).channels
        if name not in channels:
            names = ", ".join(sorted(channels)) or "none"
            raise AlertAdminError(f"there is no channel {name}. Existing channels: {names}")
        return channels[name]

    # --- mutes --------------------------------------------------------------------------------

    async def mute(self, app: str, for_s: int, by: str = "") -> Mute:
        """Suppress new notifications about an app for some time. SERVICE is Dynometer itself.

        Raises:
            AlertAdminError: the time is too long, the app is unknown, or the person's name invalid.
        """
        if not 0 < for_s <= MUTE_S_MAX:
            raise AlertAdminError(f"expected a duration up to {MUTE_S_MAX // DAY_S} days, as 2h")
        apps = {seen_app.app for seen_app in await self._store.seen_apps()}
        if app != SERVICE and app not in apps:
            raise AlertAdminError(f"no lines were ever received from {app}. Check its name")
        now_s = int(self._clock())
        mute = Mute(now_s + for_s, now_s, by=_check_person(by))
        return await self._write_mute(app, mute, f"muted until {utc_time(mute.until_s, now_s)}")

    async def acknowledge(self, app: str, by: str = "") -> Mute:
        """Suppress new notifications about an app until its alerts resolve.

        Raises:
            AlertAdminError: no alert of the app fires, or the person's name is invalid.
        """
        alerts = (await read_overview(self._store)).firing
        if not any(entry.app == app and entry.alert.phase == "firing" for entry in alerts):
            raise AlertAdminError(
                f"no alert of {app_in_words(app)} is firing, so there is nothing to acknowledge. "
                "To suppress notifications, mute it"
            )
        now_s = int(self._clock())
        mute = Mute(now_s + ACKNOWLEDGED_S, now_s, until_resolved=True, by=_check_person(by))
        return await self._write_mute(app, mute, "acknowledged")

    async def _write_mute(self, app: str, mute: Mute, text: str) -> Mute:
        text += f" by {mute.by}" if mute.by else ""
        entry = HistoryEntry(mute.since_s, "muted", text)
        await self._store.change_alerts(
            [AlertChange(AlertTable.MUTES, app, pack_json(mute))],
            history={app: [pack_json(entry)]},
        )
        return mute

    async def unmute(self, app: str) -> None:
        """End a mute, or withdraw an acknowledgement.

        Raises:
            AlertAdminError: the app is not muted.
        """
        now_s = self._clock()
        config = await read_config(self._store)
        if not config.is_muted(app, now_s):
            raise AlertAdminError(f"{app} is not muted")
        was_acknowledged = config.mutes[app].until_resolved
        text = "acknowledgement withdrawn" if was_acknowledged else "unmuted"
        entry = HistoryEntry(int(now_s), "unmuted", text)
        await self._store.change_alerts(
            [AlertChange(AlertTable.MUTES, app, b"")], history={app: [pack_json(entry)]}
        )

    async def _write(self, table: AlertTable, field: str, record: bytes) -> None:
        await self._store.change_alerts([AlertChange(table, field, record)])


def _check_person(name: str) -> str:
    """A person's name without spaces around it.

    Raises:
        AlertAdminError: it is too long, or has characters that cannot be printed.
    """
    name = name.strip()
    if len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise AlertAdminError(
            f"{name!r} can't be a person's name here: use up to {NAME_LENGTH_MAX} printable "
            "characters"
        )
    return name
