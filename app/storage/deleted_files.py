"""Saves the data of a server whose directory is deleted or moved while it runs.

Such a server goes on with files that have no name, and its socket has none either: nobody can
connect to it any more, but workers that are connected go on. All that they acknowledge would end
with the server. It still has all data in memory, and obeys a connection that was open before. So
one is kept open, by which the server writes all its data again and then ends, to be started anew.
From the moment that the loss is noticed, the server refuses writes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.storage.append_only_file import DIRECTORY, MANIFEST

_POLL_S = 0.02
_TIMEOUT_S = 10.0


class ServerFiles:
    """The files of a running server."""

    def __init__(self, directory: Path, socket_path: Path, lock_path: Path) -> None:
        """
        Raises:
            redis.RedisError: the server does not answer.
            OSError: the directory is missing.
        """
        self._directory = directory
        self._status = directory.stat()
        # As text: pathlib would show in the CPU time of an idle service, so often are they checked.
        self._directory_name = str(directory)
        self._names = tuple(map(str, (socket_path, lock_path, directory / DIRECTORY / MANIFEST)))
        self._connection = redis.Redis(
            unix_socket_path=str(socket_path),
            single_connection_client=True,
            socket_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection.ping()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def are_missing(self) -> bool:
        """Whether the directory, or what matters in it, was deleted or moved."""
        try:
            is_same = os.path.samestat(os.stat(self._directory_name), self._status)
        except FileNotFoundError:
            return True
        return not is_same or not all(map(os.path.exists, self._names))

    def refuse_writes(self) -> None:
        """Let the server refuse writes until it is restarted, so that batches wait in the spool.

        Raises:
            redis.RedisError: it does not answer.
        """
        self._connection.config_set("min-replicas-to-write", 1)  # it has none

    def write_again(self) -> None:
        """Let the server write all its data to the directory.

        Raises:
            redis.RedisError: it cannot; call this again later.
        """
        self._connection.config_set("dir", str(self._directory))
        self._connection.bgrewriteaof()
        while self._persistence("aof_rewrite_in_progress"):
            time.sleep(_POLL_S)
        if self._persistence("aof_last_bgrewrite_status") != "ok":
            raise redis.RedisError("the append-only file could not be written")

    def stop_server(self) -> None:
        """Let the server sync its files and end."""
        self._connection.shutdown()

    def _persistence(self, field: str) -> object:
        info: Any = self._connection.info("persistence")
        return info[field]
