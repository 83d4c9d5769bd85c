"""The server behind a store: whether it may be used, how full it is, and its shards."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import NamedTuple, Protocol, runtime_checkable


class ServerInfo(NamedTuple):
    """The store's server, for the operator.

    Attributes:
        server: name and version.
        bytes_used: memory in use.
        bytes_max: its limit; 0 for none.
        persistence: how data survives a restart, in words; "" if it does not.
        time_s: the server's clock in Unix seconds; 0 if unknown.
    """

    server: str
    bytes_used: int
    bytes_max: int
    persistence: str
    time_s: float = 0.0


class ServerStatus(Protocol):
    """Reports whether the server may be used, and how full it is."""

    async def problems(self) -> list[str]:
        """Reasons why this store must not be used, each a sentence with the fix; usually none."""
        ...

    async def warnings(self) -> list[str]:
        """Risks that the operator should fix although the store is usable, each a sentence."""
        ...

    async def server_info(self) -> ServerInfo:
        """Memory use, persistence and clock of the server; sums where there are several."""
        ...


@runtime_checkable
class ShardedStore(Protocol):
    """A store of several shards, each of which may be unavailable separately."""

    def shard_of(self, app: str) -> Hashable:
        """The shard that holds an app now. No I/O."""
        ...

    def shards(self) -> Collection[Hashable]:
        """All shards known now. No I/O."""
        ...

    async def refuse_unsupported_data(self) -> None:
        """Raise an error if the store holds data that this version cannot read.

        Raises:
            StoreError: names the data and the fix.
            StoreUnavailable: the store could not be read.
        """
        ...
