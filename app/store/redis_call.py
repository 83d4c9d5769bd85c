"""How Redis is asked: scripts by their digest, and what it or the way to it refuses as
StoreUnavailable.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import redis.asyncio
from hiredis import pack_command
from redis.exceptions import NoScriptError, RedisError

from app.store.port import StoreUnavailable
from app.store.wire import Wire

TIMEOUT_S = 2.0  # Logplex waits 5 s for its answer: two tries must fit
_T = TypeVar("_T")


class Script:
    """A Lua script and the digest that it is called by."""

    def __init__(self, name: str) -> None:
        self.text = files("app.store").joinpath(name).read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Scripted:
    """Calls scripts of a server."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._wire = Wire(client.connection_pool, TIMEOUT_S)

    async def _evaluate(
        self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Any]
    ) -> Any:
        call = [len(keys), *keys, *arguments]
        return (await asking(self._evaluate_all(script, [call])))[0]

    async def _evaluate_all(self, script: Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """One round trip; a second one where the server did not know the script yet."""
        if not calls:
            return []
        answers = await self._run(script, calls)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            await self._client.script_load(script.text)
            again = await self._run(script, [calls[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return _unless_refused(answers)

    async def _ask_all(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands, in one round trip."""
        if not calls:
            return []
        commands = b"".join(pack_command(tuple(call)) for call in calls)
        return _unless_refused(await self._wire.ask(commands, len(calls)))

    async def _run(self, script: Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers, errors among them."""
        commands = b"".join(pack_command(("EVALSHA", script.sha, *call)) for call in calls)
        return await self._wire.ask(commands, len(calls))


def _unless_refused(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


# What an error of the client or the server says, and what to do about it; the first that matches.
# Inside scripts the server's code comes in the middle of a message, so it is searched for.
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
    (r"ClusterDown|CLUSTERDOWN|TryAgain|MasterDown", "wait until its cluster is whole again"),
    (r"Moved|MOVED|CROSSSLOT", "REDIS_URL names a node of a cluster: name a single Redis"),
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
        # A message of Redis or its client names host and port, never the password.
        said = f"{type(error).__name__}: {error}"
        advice = next(advice for pattern, advice in _ADVICE if re.search(pattern, said))
        raise StoreUnavailable(f"the store is away or refuses ({said}): {advice}") from error
