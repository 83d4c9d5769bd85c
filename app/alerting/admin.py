"""Where the operator sets alerts up and looks at them: for the command and the API alike. Nothing
that is returned here holds a secret, but the key of a webhook when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from app.alerting import rule as rules
from app.alerting import status as look
from app.alerting.channels import channel as channels
from app.alerting.channels.channel import CHANNELS_MAX, Channel, ChannelHealth, unpack_health
from app.alerting.config import read_config
from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.notification import a_test
from app.alerting.outbox import put
from app.alerting.rule import RULES_MAX, SERVICE, Rule, rule_of
from app.alerting.state import HistoryEntry, Mute, pack_json
from app.alerting.status import AlertsOverview
from app.alerting.wording import clock as in_words
from app.rollup.resolutions import DAY_S
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import Store
from app.support.errors import UserError

MUTE_S_MAX = 30 * DAY_S
_PACK = {rule.name: rule for rule in DEFAULT_RULES}


class AlertAdminError(UserError):
    """This cannot be done as things are; the message says what can."""


class AlertAdmin:
    """Works on the store."""

    def __init__(self, store: Store, clock: Callable[[], float], url: str) -> None:
        """`url`: of the pages."""
        self._store = store
        self._clock = clock
        self._url = url

    # --- looking ------------------------------------------------------------------------------

    async def overview(self) -> AlertsOverview:
        """What is set up, and what fires."""
        return await look.overview(self._store)

    async def history(self, apps: Sequence[str], count: int) -> list[tuple[str, HistoryEntry]]:
        """What was told of these apps, or of all if none is named; the newest first."""
        return await look.history(self._store, apps, count)

    # --- rules --------------------------------------------------------------------------------

    async def put_rule(self, name: str, fields: Mapping[str, Any]) -> Rule:
        """Make a rule of these fields, or change those of one that is there.

        Raises:
            RuleError: it would be none.
            DeskError: there are too many.
        """
        config = await read_config(self._store)
        known = config.rules.get(name)
        before = msgspec.to_builtins(known) if known is not None else {"title": name}
        rule = rule_of({**before, **fields, "name": name})
        if len(config.own - {name}) >= RULES_MAX:
            raise AlertAdminError(f"there are {RULES_MAX} rules of your own: remove one first")
        await self._write(AlertTable.RULES, name, rules.pack_rule(rule))
        return rule

    async def remove_rule(self, name: str) -> Rule | None:
        """Forget a rule of the operator's own; returns the pack's rule that holds again.

        Raises:
            DeskError: it is none of them.
        """
        config = await read_config(self._store)
        if name not in config.own:
            hint = (
                f": it is built in; to switch it off: dynometer alerts off {name}"
                if name in _PACK
                else ". See: dynometer alerts list"
            )
            raise AlertAdminError(f"{name} is no rule of your own{hint}")
        await self._write(AlertTable.RULES, name, b"")
        return _PACK.get(name)

    # --- channels -----------------------------------------------------------------------------

    async def add_channel(self, channel: Channel) -> Channel:
        """Tell this channel from now on. A webhook without a key gets one.

        Raises:
            ChannelError: it cannot be used.
            DeskError: there is one of that name, or there are too many.
        """
        if channel.kind == "webhook" and not channel.key:
            channel = msgspec.structs.replace(channel, key=channels.new_key())
        channels.check(channel)
        known = (await read_config(self._store)).channels
        if channel.name in known:
            raise AlertAdminError(
                f"there is a channel {channel.name}: choose another name, or first "
                f"dynometer alerts channel remove {channel.name}"
            )
        if len(known) >= CHANNELS_MAX:
            raise AlertAdminError(f"there are {CHANNELS_MAX} channels: remove one first")
        await self._store.change_alerts(
            [
                AlertChange(AlertTable.HEALTH, channel.name, b""),
                AlertChange(AlertTable.CHANNELS, channel.name, channels.pack_channel(channel)),
            ]
        )
        return channel

    async def remove_channel(self, name: str) -> None:
        """Tell it nothing any more; what waits for it goes, too.

        Raises:
            DeskError: there is none.
        """
        await self._channel(name)
        await self._write(AlertTable.CHANNELS, name, b"")

    async def test(self, name: str) -> str:
        """Put a test message into the outbox; returns the entry, which goes when it was taken.

        Raises:
            DeskError: there is no such channel.
        """
        channel = await self._channel(name)
        now_s = int(self._clock())
        (change,) = put(a_test(name, now_s, self._url), [channel], now_s)
        # It is to be tried now, also if the channel did not work a minute ago.
        await self._store.change_alerts([change, AlertChange(AlertTable.HEALTH, name, b"")])
        return change.field

    async def is_waiting(self, entry: str) -> bool:
        """Whether an entry of the outbox was not taken yet."""
        return entry in (await self._store.alert_tables(AlertTable.OUTBOX))[0]

    async def health(self, name: str) -> ChannelHealth:
        """How deliveries to a channel go."""
        return unpack_health((await self._store.alert_tables(AlertTable.HEALTH))[0].get(name))

    async def _channel(self, name: str) -> Channel:
        known = (await read_config(self._store)).channels
        if name not in known:
            names = ", ".join(sorted(known)) or "none yet"
            raise AlertAdminError(f"there is no channel {name}; there are: {names}")
        return known[name]

    # --- mutes --------------------------------------------------------------------------------

    async def mute(self, app: str, for_s: int) -> Mute:
        """Tell nothing new of an app for so long; SERVICE for Dynometer itself.

        Raises:
            DeskError: that is too long, or no app.
        """
        if not 0 < for_s <= MUTE_S_MAX:
            raise AlertAdminError(f"expected a time up to {MUTE_S_MAX // DAY_S} days, as 2h")
        if app != SERVICE and app not in {each.app for each in await self._store.seen_apps()}:
            raise AlertAdminError(
                f"nothing was ever received from {app}: see dynometer alerts list"
            )
        now_s = int(self._clock())
        mute = Mute(now_s + for_s, now_s)
        told = HistoryEntry(now_s, "muted", f"muted until {in_words(mute.until_s, now_s)}")
        await self._store.change_alerts(
            [AlertChange(AlertTable.MUTES, app, pack_json(mute))],
            history={app: [pack_json(told)]},
        )
        return mute

    async def unmute(self, app: str) -> None:
        """Tell of it again.

        Raises:
            DeskError: it is not muted.
        """
        now_s = self._clock()
        if not (await read_config(self._store)).is_muted(app, now_s):
            raise AlertAdminError(f"{app} is not muted")
        told = HistoryEntry(int(now_s), "unmuted", "told again")
        await self._store.change_alerts(
            [AlertChange(AlertTable.MUTES, app, b"")], history={app: [pack_json(told)]}
        )

    async def _write(self, table: AlertTable, field: str, record: bytes) -> None:
        await self._store.change_alerts([AlertChange(table, field, record)])
