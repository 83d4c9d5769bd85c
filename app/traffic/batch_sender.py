"""Delivers batches of frames to a drain, as Logplex does but with more patience."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import httpx2

from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.config import ConfigError
from app.support.about import command
from app.support.loopback import is_loopback

RETRY_DELAYS_S = (0.2, 0.5, 1, 2, 5, 10, 20)  # outlasts the restart of a service
ANSWER_WITHIN_S = 30

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")  # or IPv6
_EXPECTED_URL = "--to: expected http://HOST:PORT or https://APP:SECRET@HOST"


class DeliveryError(Exception):
    """A batch was not taken; the message says what to do."""


class Target(NamedTuple):
    """Where to send: `url` without credentials and without a slash at its end."""

    url: str
    app: str
    secret: str

    @property
    def memory_name(self) -> str:
        """The file in which is remembered what was sent there."""
        return f"{self.app}-{blake2b(self.url.encode(), digest_size=8).hexdigest()}"


def parse_target(to: str | None, app: str | None, port: int) -> Target:
    """
    Raises:
        ConfigError: not an http(s) URL, or no app, or two of them.
    """
    try:
        parts = urlsplit(to or f"http://127.0.0.1:{port}")
        host, port_given = parts.hostname or "", parts.port
    except ValueError:  # a port that is none, an open bracket
        raise ConfigError(_EXPECTED_URL) from None
    if not _HOST.fullmatch(host) or parts.scheme not in ("http", "https"):
        raise ConfigError(_EXPECTED_URL)
    user = unquote(parts.username or "")
    name = app or user
    if not name:
        raise ConfigError("which app are these lines of? Add --app NAME")
    if user and user != name:
        raise ConfigError(f"--app says {name}, --to says {user}: give the same in both")
    if not valid_app(name):
        raise ConfigError(f"{name!r} is not an app's name: {APP_NAME_RULE}")
    address = f"[{host}]" if ":" in host else host
    if port_given is not None:
        address += f":{port_given}"
    path = parts.path.rstrip("/").removesuffix("/drain")
    return Target(f"{parts.scheme}://{address}{path}", name, unquote(parts.password or "replay"))


class BatchSender:
    """POSTs batches to a drain, each until it is acknowledged. A context manager."""

    def __init__(self, target: Target, retry_delays_s: Sequence[float] = RETRY_DELAYS_S) -> None:
        self._target = target
        self._retry_delays_s = retry_delays_s
        self._reached = False
        # A proxy of the environment is for the outside world, not for this machine.
        outside = not is_loopback(urlsplit(target.url).hostname or "")
        self._client = httpx2.Client(
            auth=(target.app, target.secret), timeout=ANSWER_WITHIN_S, trust_env=outside
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def send(self, frames: Sequence[bytes], frame_id: str) -> None:
        """
        Raises:
            CannotDeliver: nobody listens, the service refuses, or it is away for longer than all
                retries last.
        """
        headers = {
            "Content-Type": "application/logplex-1",
            "Logplex-Msg-Count": str(len(frames)),
            "Logplex-Frame-Id": frame_id,
            "Dynometer-Replay": "1",
        }
        body = b"".join(frames)
        for delay_s in self._retry_delays_s:
            failure = self._attempt(body, headers)
            if not failure:
                return
            time.sleep(delay_s)
        if failure := self._attempt(body, headers):
            raise DeliveryError(
                f"{self._target.url} takes no lines ({failure}); when it does, run this again"
            )

    def _attempt(self, body: bytes, headers: dict[str, str]) -> str:
        """ "" when the batch was acknowledged, otherwise why it may be tried again."""
        url = self._target.url
        try:
            response = self._client.post(f"{url}/drain", content=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if not self._reached:
                raise DeliveryError(
                    f"no service at {url}: start it with {command()} serve ({error})"
                ) from error
            return str(error)
        except httpx2.TransportError as error:
            self._reached = True
            return str(error) or type(error).__name__
        self._reached = True
        if response.is_success:
            return ""
        said = response.text.strip().partition("\n")[0][:200]
        answer = f"it answers {response.status_code} {said}".rstrip()
        if response.status_code < 500 and response.status_code != 429:
            hint = _HINTS.get(response.status_code, "")
            raise DeliveryError(f"{url} refuses the lines: {answer}{hint}")
        return answer


_HINTS = {
    401: " Give its drain secret: --to https://APP:SECRET@HOST",
    404: " (is that address a Dynometer's?)",
}
