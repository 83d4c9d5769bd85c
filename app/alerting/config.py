"""The operator's configuration of alerts (rules, channels, mutes), read at one instant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from app.alerting.channels.channel import Channel, unpack_channel, unreadable_channel
from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.rule import Rule, merge_rules, unpack_rule
from app.alerting.state import Mute, unpack_mute
from app.storage.interface.alerts import AlertReader, AlertTable

log = logging.getLogger(__name__)

T = TypeVar("T")


class AlertConfig(NamedTuple):
    """`rules`: all rules by name, built-in ones included. `custom_names`: those that the operator
    created or changed. `channels`: those that this version cannot use are included, so that the
    messages for them wait.
    """

    rules: Mapping[str, Rule]
    custom_names: frozenset[str]
    channels: Mapping[str, Channel]
    mutes: Mapping[str, Mute]

    @property
    def is_active(self) -> bool:
        """Whether rules are evaluated at all: there is a channel or a custom rule."""
        return bool(self.channels or self.custom_names)

    def mute_of(self, app: str, now_s: float) -> Mute | None:
        """The mute that suppresses new notifications about an app; None if there is none."""
        mute = self.mutes.get(app)
        return mute if mute is not None and now_s < mute.until_s else None

    def is_muted(self, app: str, now_s: float) -> bool:
        """Whether new notifications about an app are suppressed."""
        return self.mute_of(app, now_s) is not None


EMPTY_CONFIG = AlertConfig({}, frozenset(), {}, {})


async def read_config(store: AlertReader) -> AlertConfig:
    """
    Raises:
        StoreUnavailable
    """
    rules, channels, mutes = await store.alert_tables(
        AlertTable.RULES, AlertTable.CHANNELS, AlertTable.MUTES
    )
    return AlertConfig(
        merge_rules(DEFAULT_RULES, unpack_readable(rules, unpack_rule, "rule")),
        frozenset(rules),
        unpack_channels(channels),
        unpack_readable(mutes, unpack_mute, "mute"),
    )


def unpack_channels(records: Mapping[str, bytes]) -> dict[str, Channel]:
    """All channels by name; UNREADABLE ones stand for those that this version cannot decode."""
    return {name: unreadable_channel(name) for name in records} | unpack_readable(
        records, unpack_channel, "channel"
    )


def unpack_readable(
    records: Mapping[str, bytes], unpack: Callable[[bytes], T], kind: str
) -> dict[str, T]:
    """Decode records by name. Unreadable ones, such as those of a newer version, are logged and
    left out, so that they do not affect the others.
    """
    values: dict[str, T] = {}
    for name, record in records.items():
        try:
            values[name] = unpack(record)
        except msgspec.MsgspecError as error:
            _log_once(f"{kind} {name} cannot be read: {error}")
    return values


@lru_cache(maxsize=256)  # the cache suppresses repetitions: records are read every few seconds
def _log_once(sentence: str) -> None:
    log.error("alerts: %s", sentence)
