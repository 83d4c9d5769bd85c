"""Sends commands and scripts to Redis and turns its errors into StoreUnavailable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from app.storage.interface.errors import StoreUnavailable

TIMEOUT_S = 2.0  # Logplex waits 5 s for its answer: two tries must fit
_T = TypeVar("_T")

Call = Sequence[Any]
"""The words of a command. For a script: the number of keys, the keys, the arguments.

Either way the first key is the second word; by it a cluster finds the node.
"""


class Send(Protocol):
    """A method that sends calls: RedisTopology.send, send_replicated or read_lists."""

    def __call__(self, calls: Sequence[Call], prefix: Call = ()) -> Awaitable[list[Any]]:
        """Send calls, each preceded by the words `prefix`."""
        ...


class RedisTopology(Protocol):
    """One Redis, or several that act as one.

    Attributes:
        apps_per_script: how many apps one script call may write. 1 if apps lie on several servers.
    """

    apps_per_script: int

    def send(self, calls: Sequence[Call], prefix: Call = ()) -> Awaitable[list[Any]]:
        """Send calls in one round trip, each preceded by the words `prefix`.

        Returns:
            One answer for each call. An error that Redis answered is an exception in its place.
        Raises:
            redis.exceptions.RedisError, OSError: whether the calls were executed is unknown.
        """
        ...

    def send_replicated(self, calls: Sequence[Call], prefix: Call = ()) -> Awaitable[list[Any]]:
        """Like `send`, but return only when the configured number of replicas has the writes."""
        ...

    def read_lists(self, calls: Sequence[Call], prefix: Call = ()) -> Awaitable[list[Any]]:
        """Read the lists of each call at one instant. A call is the number of its keys, and these.

        `prefix` is not used. Answers and errors are those of `send`.
        """
        ...

    async def load_script(self, script: str) -> None:
        """Load a script on every server that may be asked to run it."""
        ...

    async def infos(self) -> list[Mapping[str, Any]]:
        """The fields of INFO of each primary."""
        ...

    async def settings(self, *names: str) -> dict[str, str]:
        """The values of CONFIG GET; empty if the server does not allow it, as hosted ones do."""
        ...

    async def warnings(self) -> list[str]:
        """Risks in the topology, such as too few replicas, each a sentence with the fix."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Script:
    """A Lua script, concatenated from files, and the words that call it by its digest."""

    def __init__(self, *names: str) -> None:
        self.text = "".join(
            files("app.storage.redis").joinpath("scripts", name).read_text() for name in names
        )
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self.prefix = ("EVALSHA", self.sha)


_READ_LISTS = Script("read_lists.lua")


class RedisCommands:
    """Base of the Redis store: commands and scripts. All methods raise StoreUnavailable."""

    def __init__(self, topology: RedisTopology) -> None:
        self._topology = topology

    async def _evaluate(
        self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Any]
    ) -> Any:
        call = [len(keys), *keys, *arguments]
        return (await self._evaluate_all(script, [call]))[0]

    async def _evaluate_all(
        self, script: Script, calls: Sequence[Call], send: Send | None = None
    ) -> list[Any]:
        """Run a script for each call, in one round trip; in two if a server did not know it.

        Each POST passes here, so this is one coroutine.

        Args:
            send: of the topology; None for its `send`.
        """
        if not calls:
            return []
        send = send or self._topology.send
        try:
            answers = await send(calls, script.prefix)
            if not has_errors(answers):
                return answers
            unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                await self._topology.load_script(script.text)
                retried_answers = await send([calls[i] for i in unknown], script.prefix)
                for i, answer in zip(unknown, retried_answers, strict=True):
                    answers[i] = answer
        except (RedisError, OSError, TimeoutError) as error:
            raise to_store_unavailable(error) from error
        return raise_errors(answers)

    async def _read_groups(self, calls: Sequence[Call]) -> list[list[list[bytes]]]:
        """The lists of each call, read at one instant. A call is the number of its keys, and these.

        In a script, Lua would copy and hash every byte, which takes most of the time. But a server
        without free memory accepts no other transaction.
        """
        if not calls:
            return []
        answers = await translate_errors(self._topology.read_lists(calls))
        if any(isinstance(answer, OutOfMemoryError) for answer in answers):
            answers = await self._evaluate_all(_READ_LISTS, calls)
        return [raise_errors(lists) for lists in raise_errors(answers)]

    async def _execute(self, *call: Any) -> Any:
        return (await self._execute_all([call]))[0]

    async def _execute_all(self, calls: Sequence[Call]) -> list[Any]:
        """The answers to commands, in one round trip."""
        return raise_errors(await translate_errors(self._topology.send(calls))) if calls else []


def has_errors(answers: list[Any]) -> bool:
    """Whether any answer is an error."""
    for answer in answers:  # noqa: SIM110  a generator would cost as much as the script's arguments
        if isinstance(answer, Exception):
            return True
    return False


def raise_errors(answers: list[Any]) -> list[Any]:
    """Return these answers if none of them is an error.

    Raises:
        StoreUnavailable: for the first answer that is an error.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise to_store_unavailable(answer) from answer
    return answers


def parse_map(answer: Any) -> dict[bytes, bytes]:
    """A hash, or a sorted set with scores, from an answer in RESP2 or RESP3."""
    if isinstance(answer, dict):
        return answer
    if answer and isinstance(answer[0], list):
        return dict(answer)
    return dict(zip(answer[::2], answer[1::2], strict=True))


CHECK_ADDRESS = (
    "Check that it is running, and check REDIS_URL: host, port, and rediss:// if and only if it "
    "uses TLS."
)
# Patterns of error texts of Redis and its client, with the fix for each. The last matches any text.
_FIXES = (
    (
        r"OutOfMemory|OOM",
        "Raise its maxmemory, or keep data for less time (DYNOMETER_RETENTION_*).",
    ),
    (r"ReadOnly|READONLY", "REDIS_URL names a replica: set it to the primary."),
    (r"BusyLoading|LOADING", "It is reading its data from disk: wait."),
    (r"MISCONF", "It cannot write to its disk: free some space there and check its log."),
    (r"NotReplicated", "Start its replicas, or lower DYNOMETER_REDIS_REPLICAS."),
    (
        r"NOREPLICAS",
        "It takes no writes now. The store of 'dynometer serve' has no replicas: it is saving its "
        "data again because its files were deleted, so wait. Of any other Redis, start the "
        "replicas that its min-replicas-to-write asks for.",
    ),
    (
        r"[Aa]uthenticat|username-password|NoPermission|NOAUTH|WRONGPASS|NOPERM",
        "Check the user and password in REDIS_URL.",
    ),
    (
        r"ClusterDown|CLUSTERDOWN|TryAgain|MasterDown|MasterNotFound",
        "Wait until its cluster has recovered.",
    ),
    (
        r"Moved|MOVED|CROSSSLOT",
        "REDIS_URL names a node of a cluster: write it as redis+cluster://HOST:PORT.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "Its certificate is not trusted: append ?ssl_ca_certs=FILE to REDIS_URL. If the "
        "certificate is self-signed, as at Heroku, append ?ssl_cert_reqs=none.",
    ),
    (r"WRONG_VERSION_NUMBER|HTTP_REQUEST", "It does not speak TLS: write redis:// in REDIS_URL."),
    (r"\[SSL", "TLS failed: check the TLS options in REDIS_URL, and the log of the server."),
    (r"InvalidResponse|Protocol error", "That is no Redis: check host and port in REDIS_URL."),
    (
        r"DB index",
        "REDIS_URL names a database that the server does not have: leave out its number.",
    ),
    (r"Connection|Timeout|OSError", CHECK_ADDRESS),
    (r"", "Check its log."),
)


async def translate_errors(answer: Awaitable[_T]) -> _T:
    """Await an answer of Redis.

    Raises:
        StoreUnavailable: Redis, its client or the connection failed.
    """
    try:
        return await answer
    except (RedisError, OSError, TimeoutError) as error:
        raise to_store_unavailable(error) from error


def to_store_unavailable(error: Exception) -> StoreUnavailable:
    """The error that reports this one, with the fix.

    Messages of Redis and its client name host and port, never the password.
    """
    text = f"{type(error).__name__}: {error}"
    fix = next(fix for pattern, fix in _FIXES if re.search(pattern, text))
    return StoreUnavailable(f"Redis is unavailable or rejected a command ({text}). {fix}")
