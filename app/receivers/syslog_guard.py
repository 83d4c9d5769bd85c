"""The limits that all syslog connections of a worker share, by who opened them.

A connection is a stranger's until it has delivered a known drain token; then it is its app's.
Strangers and apps have separate budgets. In a full one, the peer or app with the most connections
loses its oldest: a sender that delivers its token is no stranger for long, so those that only wait
are closed first.

Behind a proxy that sends PROXY headers, the peer is the proxy's client.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

from app.support.evicting_budget import EvictingBudget
from app.support.fair_turns import FairTurns
from app.support.rejections import Rejections

CONNECTIONS_MAX = 1_000
STRANGERS_SHARE = 0.25
_FILES_SHARE = 0.25  # if the system allows few open files; HTTP takes at most half of them

T = TypeVar("T")


class SyslogLimits(NamedTuple):
    """Limits of one syslog connection, and of all of a worker."""

    connections_max: int = CONNECTIONS_MAX
    opening_timeout_s: float = 10.0  # for a PROXY header and the TLS handshake together
    first_token_timeout_s: float = 10.0  # a sender connects because it has something to send
    unknown_bytes_max: int = 64 * 1024  # of a connection before its first known token
    buffered_bytes_max: int = 16 * 2**20  # of incomplete messages
    reads_max: int = 24  # that are processed, or wait for the store, at the same time
    app_reads_max: int = 4  # the same, of one app


def limits_of_process() -> SyslogLimits:
    """The default limits, with no more connections than this process may open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return SyslogLimits()
    return SyslogLimits(connections_max=max(4, min(CONNECTIONS_MAX, int(files * _FILES_SHARE))))


class Evictable(Hashable, Protocol):
    """A connection that can be closed for others."""

    def evict(self) -> None:
        """Close it as soon as the lines that it has read are safe."""
        ...


class SyslogGuard:
    """Counts the connections and their bytes, and divides the time of the event loop."""

    def __init__(self, limits: SyslogLimits, rejections: Rejections) -> None:
        self.limits = limits
        self.rejections = rejections
        strangers_max = max(1, int(limits.connections_max * STRANGERS_SHARE))
        self._strangers = EvictingBudget[Evictable](strangers_max, self._close_connection)
        self._senders = EvictingBudget[Evictable](
            limits.connections_max - strangers_max, self._close_connection
        )
        self._buffers = EvictingBudget[Evictable](limits.buffered_bytes_max, self._close_buffer)
        self._stranger_turns = FairTurns()
        self._sender_turns = FairTurns()
        self._reads = asyncio.Semaphore(limits.reads_max)
        self._reads_by_app = WeakValueDictionary[str, asyncio.Semaphore]()

    def add(self, connection: Evictable, peer: Hashable) -> None:
        """Count a connection that was accepted; again if its peer turns out to be another one."""
        self._strangers.hold(connection, peer)

    def recognize(self, connection: Evictable, app: str) -> None:
        """Count a connection for the app whose token it has delivered."""
        self._strangers.release(connection)
        self._senders.hold(connection, app)

    def remove(self, connection: Evictable) -> None:
        """Forget a connection that has ended."""
        for budget in (self._strangers, self._senders, self._buffers):
            budget.release(connection)

    def buffer(self, connection: Evictable, app: str, size: int) -> None:
        """Count the bytes of an incomplete message."""
        if size:
            self._buffers.hold(connection, app, size)
        else:
            self._buffers.release(connection)

    async def stranger_turn(self, peer: Hashable, job: Callable[[], T]) -> T:
        """Run a job of a stranger when it is its turn; returns its result."""
        return await _turn(self._stranger_turns, peer, job)

    def reading(self, app: str) -> Reading:
        """A read of lines for an app: a context manager that waits until the app may read more."""
        of_app = self._reads_by_app.get(app)
        if of_app is None:
            of_app = self._reads_by_app[app] = asyncio.Semaphore(self.limits.app_reads_max)
        return Reading(app, of_app, self._reads, self._sender_turns)

    def _close_connection(self, connection: Evictable) -> None:
        self.rejections.add("syslog_connections")
        connection.evict()

    def _close_buffer(self, connection: Evictable) -> None:
        self.rejections.add("buffers")
        connection.evict()


class Reading:
    """What was read for an app, as long as it is in memory."""

    def __init__(
        self, app: str, of_app: asyncio.Semaphore, of_all: asyncio.Semaphore, turns: FairTurns
    ) -> None:
        """The semaphores count the reads of this app, and those of all."""
        self._app = app
        self._of_app = of_app
        self._of_all = of_all
        self._turns = turns
        self._is_counted = False  # among those of all

    async def __aenter__(self) -> Reading:
        await self._of_app.acquire()
        try:
            await self._count()
        except BaseException:
            self._of_app.release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._uncount()
        self._of_app.release()

    async def turn(self, job: Callable[[], T]) -> T:
        """Run a job when it is the app's turn; returns its result."""
        return await _turn(self._turns, self._app, job)

    async def sleep(self, delay_s: float) -> None:
        """Wait for the store, without keeping other apps from reading."""
        self._uncount()
        await asyncio.sleep(delay_s)
        await self._count()

    async def _count(self) -> None:
        await self._of_all.acquire()
        self._is_counted = True

    def _uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._of_all.release()


async def _turn(turns: FairTurns, group: Hashable, job: Callable[[], T]) -> T:
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def run() -> None:
        if result.cancelled():
            return
        try:
            result.set_result(job())
        except Exception as error:  # for the job's owner
            result.set_exception(error)

    turns.run(group, run)
    return await result
