"""Limits the connections of a worker, and the data that waits in them, by who opened them.

Strangers, readers and senders have separate budgets of connections. A connection is a stranger's
until one of its requests was authenticated. In a full budget, the oldest connection of the peer (or
app, or reader) with the most connections is closed: one that sends a request and authenticates is
no stranger for long, so those that only wait are closed first.

A peer is an IPv4 address or an IPv6 network of 64 bits. Behind proxies that the settings name, it
is the client that the last of them saw.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections.abc import Hashable, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple, Protocol

from app.config import EVERY_PROXY
from app.support.evicting_budget import EvictingBudget
from app.support.fair_turns import FairTurns
from app.support.loopback import HOST_LENGTH_MAX
from app.support.rejections import Rejections

CONNECTIONS_MAX = 16_384
# For connections to the store, files, pipes, and those accepted since the last check.
RESERVED_FILES = 4_096 + 128
SENDERS_SHARE, READERS_SHARE, STRANGERS_SHARE = 0.5, 0.25, 0.25
_IPV6_NETWORK_BITS = 64
CALLERS_TURN_S = 0.005  # more than strangers get; some 30 POSTs of senders fit into it
FREED_TO = 0.875  # of the budget of buffers, once it was exceeded
STRANGER, READER, SENDER = "stranger", "reader", "sender"


class ConnectionLimits(NamedTuple):
    """Limits of a connection, and of all connections of a worker."""

    head_bytes_max: int = 32 * 1024  # Logplex sends 500; a browser behind proxies some 8,000
    head_fields_max: int = 100  # Logplex sends a dozen
    head_timeout_s: float = 10.0
    handshake_timeout_s: float = 10.0
    unread_timeout_s: float = 60.0  # a slow client may stop reading for this long
    connections_max: int = CONNECTIONS_MAX
    pipelined_max: int = 8  # requests that wait for the answer to an earlier one
    buffered_bytes_max: int = 32 * 2**20  # of all connections


def limits_of_process() -> ConnectionLimits:
    """The default limits, with no more connections than this process may open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return ConnectionLimits()
    reserved = min(RESERVED_FILES, files // 2)
    return ConnectionLimits(connections_max=max(1, min(CONNECTIONS_MAX, files - reserved)))


class Caller(NamedTuple):
    """The kind of caller (STRANGER, READER or SENDER), and its name or peer."""

    kind: str
    name: Hashable


class HttpConnection(Hashable, Protocol):
    """A connection that can be closed for others."""

    transport: asyncio.Transport
    buffered_bytes: int  # kept by the guard
    caller: Caller  # likewise


class ConnectionGuard:
    """The limits that all connections of a worker share."""

    def __init__(
        self,
        limits: ConnectionLimits,
        rejections: Rejections,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """`trusted_proxies`: addresses or networks, or EVERY_PROXY."""
        self.limits = limits
        self.rejections = rejections
        self._trusts_every_proxy = EVERY_PROXY in trusted_proxies
        self._proxies = [
            ipaddress.ip_network(proxy) for proxy in trusted_proxies if proxy != EVERY_PROXY
        ]
        shares = {STRANGER: STRANGERS_SHARE, READER: READERS_SHARE, SENDER: SENDERS_SHARE}
        self._connections = {
            kind: EvictingBudget[HttpConnection](
                max(1, int(limits.connections_max * share)), self._close_connection
            )
            for kind, share in shares.items()
        }
        self.buffered_bytes = 0
        self._stranger_turns = FairTurns()
        self._caller_turns = FairTurns(CALLERS_TURN_S)

    def add(self, connection: HttpConnection) -> None:
        """Count a connection for its caller."""
        self._connections[connection.caller.kind].hold(connection, connection.caller.name)

    def remove(self, connection: HttpConnection) -> None:
        """Forget a connection that has ended."""
        self.buffer(connection, 0)
        for budget in self._connections.values():
            budget.release(connection)

    def recognize(self, connection: HttpConnection, kind: str, name: Hashable) -> None:
        """A request was authenticated. Of several callers, the first one keeps the connection."""
        previous, caller = connection.caller, Caller(kind, name)
        if kind == previous.kind != STRANGER or caller == previous:
            return
        if connection.transport.is_closing():
            return
        connection.caller = caller
        if previous.kind != kind:
            self._connections[previous.kind].release(connection)
        self.add(connection)

    def buffer(self, connection: HttpConnection, size: int) -> None:
        """Count the bytes in a connection that wait to be processed or to be read.

        If there are too many in all, the connection with the most of the caller with the most is
        closed.
        """
        self.buffered_bytes += size - connection.buffered_bytes
        connection.buffered_bytes = size
        if self.buffered_bytes > self.limits.buffered_bytes_max:
            self._close_buffers()

    def turns_of(self, caller: Caller) -> FairTurns:
        """The turns in which the requests of a caller are parsed and answered."""
        return self._stranger_turns if caller.kind == STRANGER else self._caller_turns

    def is_trusted(self, host: str) -> bool:
        """Whether an address is that of a proxy whose X-Forwarded-For is believed."""
        if self._trusts_every_proxy:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def forwarded_host(self, forwarded_for: bytes) -> str:
        """The client in an X-Forwarded-For header, which a trusted proxy sent: the last address
        that is not a proxy's; "" if there is none.
        """
        hosts = [
            host.strip()[:HOST_LENGTH_MAX] for host in forwarded_for.decode("latin-1").split(",")
        ]
        if self._trusts_every_proxy:
            return hosts[-1]
        return next((host for host in reversed(hosts) if not self.is_trusted(host)), "")

    def _close_connection(self, connection: HttpConnection) -> None:
        self.rejections.add("connections")
        connection.transport.abort()

    def _close_buffers(self) -> None:
        """Close the largest connections of the largest callers.

        That takes long with many connections, so it goes on until a part of the budget is free.
        """
        by_caller: dict[Caller, list[HttpConnection]] = {}
        for kind, budget in self._connections.items():
            for connection, name in budget.holders():
                if connection.buffered_bytes:
                    by_caller.setdefault(Caller(kind, name), []).append(connection)
        largest_first = [
            (-sum(connection.buffered_bytes for connection in connections), number, connections)
            for number, connections in enumerate(by_caller.values())
        ]
        heapify(largest_first)
        while largest_first and self.buffered_bytes > self.limits.buffered_bytes_max * FREED_TO:
            size, number, connections = heappop(largest_first)
            connection = max(connections, key=attrgetter("buffered_bytes"))
            connections.remove(connection)
            if connections:
                heappush(largest_first, (size + connection.buffered_bytes, number, connections))
            self.buffer(connection, 0)
            self.rejections.add("buffers")
            connection.transport.abort()


@lru_cache(maxsize=1_024)
def peer_of(host: str) -> Hashable:
    """The peer to which an address belongs."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return int(address)
    return int(address) >> (128 - _IPV6_NETWORK_BITS)
