"""Sends notifications through channels. Every attempt has a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.alerting.channels.channel import Channel
from app.alerting.channels.kind import ChannelDeliveryError
from app.alerting.channels.kinds import kind_of
from app.alerting.notification import Notification

TIME_LIMIT_S = 10.0  # of one whole attempt


class ChannelSender:
    """Sends notifications. It keeps no connection open between them."""

    def __init__(self, clock: Callable[[], float], time_limit_s: float = TIME_LIMIT_S) -> None:
        """`clock`: returns Unix time in seconds, for signatures."""
        self._clock = clock
        self._time_limit_s = time_limit_s

    async def send(self, channel: Channel, message: Notification) -> None:
        """
        Raises:
            ChannelDeliveryError: the channel rejected it or did not answer in time.
        """
        try:
            async with asyncio.timeout(self._time_limit_s):
                await kind_of(channel).deliver(channel, message, int(self._clock()))
        except TimeoutError:
            raise ChannelDeliveryError(f"no answer within {self._time_limit_s:.0f} s") from None
