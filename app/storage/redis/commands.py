"""How Redis is asked: scripts by their digest, and what it or the way to it refuses as
StoreUnavailable.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, RedisError

from app.storage.interface import StoreUnavailable

TIMEOUT_S = 2.0  # Logplex waits 5 s for its answer: two tries must fit
_T = TypeVar("_T")

Call = Sequence[Any]
"""The words of a command; or of a script how many keys, the keys, and the arguments. Its first key
is always the second word.
"""

Ask = Callable[[Sequence[Call], Call], Awaitable[list[Any]]]


class RedisTopology(Protocol):
    """Who answers: one Redis, or several that look like one.

    Attributes:
        apps_per_script: how many apps one call of a script may be about.
    """

    apps_per_script: int

    async def ask(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """The answers to these calls, in one round trip, refusals among them; each is preceded by
        the words `before`.

        Raises:
            redis.exceptions.RedisError, OSError: whether they took place is unknown.
        """
        ...

    async def commit(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """The same, returning when what they wrote is as safe as the operator wants it."""
        ...

    async def load(self, script: str) -> None:
        """Make a script known to whoever may be asked for it."""
        ...

    async def infos(self) -> list[Mapping[str, Any]]:
        """What INFO says, of each that takes writes."""
        ...

    async def settings(self, *names: str) -> dict[str, str]:
        """Those that we may read: hosted servers keep CONFIG to themselves."""
        ...

    async def problems(self) -> list[str]:
        """What is wrong with several that should look like one."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Script:
    """A Lua script, of several files one after the other, and the digest that it is called by."""

    def __init__(self, *names: str) -> None:
        self.text = "".join(
            files("app.storage.redis").joinpath("scripts", name).read_text() for name in names
        )
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self.before = ("EVALSHA", self.sha)


class RedisCommands:
    """Asks a server. All methods raise StoreUnavailable."""

    def __init__(self, server: RedisTopology) -> None:
        self._server = server

    async def _evaluate(
        self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Any]
    ) -> Any:
        call = [len(keys), *keys, *arguments]
        return (await self._evaluate_all(script, [call]))[0]

    async def _evaluate_all(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """One round trip; a second one where the server did not know the script yet."""
        return await asking(self._evaluated(script, calls, self._server.ask))

    async def _commit_all(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """The same; what was written is then as safe as the operator wants it."""
        return await asking(self._evaluated(script, calls, self._server.commit))

    async def _evaluated(self, script: Script, calls: Sequence[Call], ask: Ask) -> list[Any]:
        if not calls:
            return []
        answers = await ask(calls, script.before)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            await self._server.load(script.text)
            again = await ask([calls[i] for i in unknown], script.before)
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return unless_refused(answers)

    async def _ask(self, *call: Any) -> Any:
        """The answer to one command."""
        return (await self._ask_all([call]))[0]

    async def _ask_all(self, calls: Sequence[Call]) -> list[Any]:
        """The answers to commands, in one round trip."""
        return unless_refused(await asking(self._server.ask(calls))) if calls else []


def unless_refused(answers: list[Any]) -> list[Any]:
    """These answers.

    Raises:
        StoreUnavailable: one of them is a refusal.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise refused(answer) from answer
    return answers


def fields_of(answer: Any) -> dict[bytes, bytes]:
    """A hash, or a sorted set with its scores, as either version of the protocol has it."""
    if isinstance(answer, dict):
        return answer
    if answer and isinstance(answer[0], list):
        return dict(answer)
    return dict(zip(answer[::2], answer[1::2], strict=True))


# What the server or its client says, and what is to be done about it. The last fits everything.
_ADVICE = (
    (r"OutOfMemory|OOM", "raise its maxmemory, or keep data for less time (DYNOMETER_RETENTION_*)"),
    (r"ReadOnly|READONLY", "REDIS_URL names a replica: name the primary"),
    (r"BusyLoading|LOADING", "it is reading its data from disk: wait"),
    (r"MISCONF", "it cannot write to its disk: make room there, see its log"),
    (r"NOREPLICAS", "it has fewer replicas than min-replicas-to-write: start them"),
    (
        r"[Aa]uthenticat|username-password|NoPermission|NOAUTH|WRONGPASS|NOPERM",
        "check the user and password in REDIS_URL",
    ),
    (
        r"ClusterDown|CLUSTERDOWN|TryAgain|MasterDown|MasterNotFound",
        "wait until its cluster is whole again",
    ),
    (
        r"Moved|MOVED|CROSSSLOT",
        "REDIS_URL names a node of a cluster: write it as redis+cluster://HOST:PORT",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "its certificate is not trusted: append ?ssl_ca_certs=FILE to REDIS_URL, or where that is "
        "self-signed, as at Heroku, ?ssl_cert_reqs=none",
    ),
    (r"Connection|Timeout|OSError", "check that it is running, and REDIS_URL"),
    (r"", "see its log"),
)


async def asking(answer: Awaitable[_T]) -> _T:
    """Await an answer of the server; what it or the way to it refuses is StoreUnavailable."""
    try:
        return await answer
    except (RedisError, OSError, TimeoutError) as error:
        raise refused(error) from error


def refused(error: Exception) -> StoreUnavailable:
    """What a refusal means and what to do about it. A message of Redis or its client names host
    and port, never the password.
    """
    said = f"{type(error).__name__}: {error}"
    advice = next(advice for pattern, advice in _ADVICE if re.search(pattern, said))
    return StoreUnavailable(f"the store is away or refuses ({said}): {advice}")
