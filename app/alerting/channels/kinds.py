"""The kinds of channels. Command line, API, documentation and delivery all read this list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.alerting.channels.channel import UNREADABLE, Channel, ChannelError
from app.alerting.channels.email import Email
from app.alerting.channels.kind import ChannelDeliveryError, ChannelField, ChannelKind
from app.alerting.channels.slack import Slack
from app.alerting.channels.webhook import Webhook
from app.alerting.notification import Notification
from app.alerting.rule import NAME, NAME_RULE

KINDS: dict[str, ChannelKind] = {kind.name: kind for kind in (Slack(), Webhook(), Email())}

_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")


class UnknownKind:
    """A kind of a newer version. Its channels are reported, and their messages wait."""

    name = help = "unknown"
    fields: Sequence[ChannelField] = ()

    def complete(self, channel: Channel) -> Channel:
        return channel

    def check(self, channel: Channel) -> None:
        *names, last = KINDS
        raise ChannelError(f"kind={channel.kind}: expected {', '.join(names)} or {last}")

    def masked_address(self, channel: Channel) -> str:
        return f"(this version {_inability(channel)})"

    async def deliver(self, channel: Channel, message: Notification, now_s: int) -> None:
        raise ChannelDeliveryError(
            f"this version of Dynometer {_inability(channel)}. Upgrade every worker, or remove the "
            "channel"
        )


def _inability(channel: Channel) -> str:
    if channel.kind == UNREADABLE:
        return "cannot read this channel"
    return f"has no channels of kind {channel.kind}"


def kind_of(channel: Channel) -> ChannelKind:
    """The kind of a channel, UnknownKind if this version does not have it."""
    return KINDS.get(channel.kind) or UnknownKind()


def complete_and_check(channel: Channel) -> Channel:
    """Return a new channel with its defaults, if it is valid.

    Raises:
        ChannelError
    """
    if not NAME.fullmatch(channel.name):
        raise ChannelError(f"name={channel.name}: expected {NAME_RULE}")
    if not channel.apps or not all(_GLOB.fullmatch(glob) for glob in channel.apps):
        raise ChannelError("apps: expected app names, or patterns such as blog-*")
    kind = kind_of(channel)
    channel = kind.complete(channel)
    kind.check(channel)
    _check_options(kind, channel.options)
    return channel


def option_fields(kind: ChannelKind) -> dict[str, ChannelField]:
    """The fields of a kind that its channels keep in `options`, by name."""
    return {
        field.name: field for field in kind.fields if field.name not in Channel.__struct_fields__
    }


def describe_options() -> str:
    """The options of all kinds, for the API's reference."""
    descriptions = [
        f"for {kind.name}, {name}: {field.help}"
        for kind in KINDS.values()
        for name, field in option_fields(kind).items()
    ]
    return f"Fields that only one kind has: {'; '.join(descriptions) or 'none yet'}"


def _check_options(kind: ChannelKind, options: Mapping[str, str]) -> None:
    fields = option_fields(kind)
    unknown = sorted(set(options) - set(fields))
    if unknown:
        names = ", ".join(fields) or "none"
        raise ChannelError(f"options of {kind.name}: expected {names}, got {', '.join(unknown)}")
    for field in fields.values():
        if field.is_required and not options.get(field.name):
            raise ChannelError(f"{field.name} is missing: {field.help}")


def masked_address(channel: Channel) -> str:
    """The address of a channel without its secret parts, for display."""
    return kind_of(channel).masked_address(channel)
