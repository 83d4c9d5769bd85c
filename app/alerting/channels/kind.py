"""The interface of a kind of channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.alerting.channels.channel import Channel
from app.alerting.notification import Notification


class ChannelDeliveryError(Exception):
    """A notification was not delivered. The reason contains no address and no other secret.
    `retry_after_s`: the delay that the channel asked for, 0 if none.
    """

    def __init__(self, reason: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChannelField(NamedTuple):
    """A field of a new channel: an argument of the command line, and a field in the API.

    name    `url`, `to` or `sender` of Channel; any other name is kept in its `options`
    flag    the option of the command line; without one, the argument is positional
    is_list  one or more texts; for `to` only
    """

    name: str
    metavar: str
    help: str
    flag: str = ""
    is_required: bool = True
    is_list: bool = False


class ChannelKind(Protocol):
    """A kind of channel: its fields, the format of its notifications, and their delivery.

    name    in commands, in the API and in stored records
    help    for the command line
    fields  besides name, apps and least, which every channel has
    """

    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def fields(self) -> Sequence[ChannelField]: ...

    def complete(self, channel: Channel) -> Channel:
        """Return the channel with defaults for fields that were omitted."""
        ...

    def check(self, channel: Channel) -> None:
        """
        Raises:
            ChannelError: a field is not valid. The message repeats no secret.
        """
        ...

    def masked_address(self, channel: Channel) -> str:
        """The address without its secret parts, for display."""
        ...

    async def deliver(self, channel: Channel, message: Notification, now_s: int) -> None:
        """Make one attempt. It may be cancelled at any time, when its time limit is over.

        Raises:
            ChannelDeliveryError: the notification was not accepted.
        """
        ...
