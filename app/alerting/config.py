"""What the operator set up: rules, channels and mutes, as the store has them at one instant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from app.alerting.channels.channel import Channel, unpack_channel
from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.rule import Rule, merged, unpack_rule
from app.alerting.state import Mute, unpack_mute
from app.storage.alert_interface import AlertReader, AlertTable

log = logging.getLogger(__name__)

T = TypeVar("T")


class AlertConfig(NamedTuple):
    """`rules`: those that hold, the pack's included, by name. `own`: names of those that are not
    the pack's.
    """

    rules: Mapping[str, Rule]
    own: frozenset[str]
    channels: Mapping[str, Channel]
    mutes: Mapping[str, Mute]

    @property
    def active(self) -> bool:
        """Whether anything is to be evaluated: there is somebody to tell, or somebody asked for
        it.
        """
        return bool(self.channels or self.own)

    def is_muted(self, app: str, now_s: float) -> bool:
        """Whether nothing new is to be told of an app."""
        mute = self.mutes.get(app)
        return mute is not None and now_s < mute.until_s


NOTHING = AlertConfig({}, frozenset(), {}, {})


async def read_config(store: AlertReader) -> AlertConfig:
    """
    Raises:
        StoreUnavailable: the store is away.
    """
    rules, channels, mutes = await store.alert_tables(
        AlertTable.RULES, AlertTable.CHANNELS, AlertTable.MUTES
    )
    return AlertConfig(
        merged(DEFAULT_RULES, readable(rules, unpack_rule, "rule")),
        frozenset(rules),
        readable(channels, unpack_channel, "channel"),
        readable(mutes, unpack_mute, "mute"),
    )


def readable(records: Mapping[str, bytes], unpack: Callable[[bytes], T], what: str) -> dict[str, T]:
    """The records that can be read, by name: one that a newer version wrote must not end the
    others.
    """
    found: dict[str, T] = {}
    for name, record in records.items():
        try:
            found[name] = unpack(record)
        except msgspec.MsgspecError as error:
            _say_once(f"{what} {name} cannot be read, and is left out: {error}")
    return found


@lru_cache(maxsize=256)  # it is read every few seconds
def _say_once(sentence: str) -> None:
    log.error("alerts: %s", sentence)
