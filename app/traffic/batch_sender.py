"""Delivers batches of frames to a drain as Logplex does, but retries for longer."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Annotated, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import httpx2
import msgspec

from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.config import ConfigError
from app.query.delivery import Delivery, decode_delivery
from app.support.loopback import is_loopback
from app.traffic.answers import connection_problem, error_reason, failure

RETRY_DELAYS_S = (0.2, 0.5, 1, 2, 5, 10, 20)  # in total longer than a service needs to restart
ANSWER_WITHIN_S = 30

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")  # or IPv6
_EXPECTED_URL = "--to: expected http://HOST:PORT or https://APP:SECRET@HOST"


class DeliveryError(Exception):
    """A batch was not delivered. The message includes the fix."""


class Target(NamedTuple):
    """A drain to send to: `url` has no credentials and no slash at its end."""

    url: str
    app: str
    secret: str


def parse_target(to: str | None, app: str | None, port: int) -> Target:
    """The target of the options --to and --app; without --to, the service on this machine.

    Raises:
        ConfigError: `to` is not an http(s) URL, no app is named, or two different apps are.
    """
    try:
        parts = urlsplit(f"http://127.0.0.1:{port}" if to is None else to)
        host, url_port = parts.hostname or "", parts.port
    except ValueError:  # an invalid port, an open bracket
        raise ConfigError(_EXPECTED_URL) from None
    if not _HOST.fullmatch(host) or parts.scheme not in ("http", "https"):
        raise ConfigError(_EXPECTED_URL)
    user = unquote(parts.username or "")
    name = app or user
    if not name:
        raise ConfigError("no app is named for these lines. Add --app NAME.")
    if user and user != name:
        raise ConfigError(f"--app is {name}, but --to is for {user}. Use the same app in both.")
    if not valid_app(name):
        raise ConfigError(f"{name!r} is not an app's name: {APP_NAME_RULE}")
    address = f"[{host}]" if ":" in host else host
    if url_port is not None:
        address += f":{url_port}"
    path = parts.path.rstrip("/").removesuffix("/drain")
    return Target(f"{parts.scheme}://{address}{path}", name, unquote(parts.password or "replay"))


class _Identity(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]  # it becomes part of a file's name


class _StoreReadiness(msgspec.Struct):
    identity: _Identity | None = None


class _Readiness(msgspec.Struct):
    """The part of the answer of /readyz that identifies the store."""

    store: _StoreReadiness


class BatchSender:
    """POSTs batches to a drain and retries each until it is acknowledged. A context manager."""

    def __init__(
        self,
        target: Target,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        *,
        alert: bool = False,
    ) -> None:
        """`alert`: whether alerts about an app that has only replayed lines are sent."""
        self._target = target
        self._mark = "alert" if alert else "1"
        self._retry_delays_s = retry_delays_s
        self._is_reachable = False  # once reachable, a refused connection is a restart: retry it
        # A proxy from the environment is meant for other hosts, not for this machine.
        is_remote = not is_loopback(urlsplit(target.url).hostname or "")
        self._client = httpx2.Client(
            auth=(target.app, target.secret), timeout=ANSWER_WITHIN_S, trust_env=is_remote
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def store_id(self) -> str:
        """The id of the store behind the service.

        "" if the service does not tell: its version is older, or its store is unavailable.
        """
        try:
            response = self._client.get(f"{self._target.url}/readyz")
            readiness = msgspec.json.decode(response.content, type=_Readiness)
        except (httpx2.HTTPError, msgspec.DecodeError, UnicodeDecodeError):
            return ""
        return readiness.store.identity.id if readiness.store.identity else ""

    def send(self, frames: Sequence[bytes], frame_id: str) -> Delivery | None:
        """Deliver one batch.

        Returns:
            The service's account of it; None if the service is older and gives none.
        Raises:
            DeliveryError: no service listens there, it rejects the batch, or it stays unavailable
                for longer than all retries last.
        """
        headers = {
            "Content-Type": "application/logplex-1",
            "Logplex-Msg-Count": str(len(frames)),
            "Logplex-Frame-Id": frame_id,
            "Dynometer-Replay": self._mark,
        }
        body = b"".join(frames)
        for delay_s in (*self._retry_delays_s, None):
            reason, account = self._attempt(body, headers)
            if not reason:
                return account
            if delay_s is not None:
                time.sleep(delay_s)
        raise DeliveryError(
            f"{self._target.url} does not accept lines ({reason}). Run this again once it does."
        )

    def _attempt(self, body: bytes, headers: dict[str, str]) -> tuple[str, Delivery | None]:
        """POST once.

        Returns:
            "" if the batch was acknowledged, otherwise the reason to retry; and the account of it.
        """
        url = self._target.url
        try:
            response = self._client.post(f"{url}/drain", content=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if not self._is_reachable:
                raise DeliveryError(connection_problem(url, error)) from error
            return str(error), None
        except httpx2.TransportError as error:
            self._is_reachable = True
            return failure(url, error), None
        self._is_reachable = True
        if response.is_success:
            return "", _account(response)
        problem = f"it answered {response.status_code} {error_reason(response)}".rstrip()
        if response.status_code < 500 and response.status_code != 429:
            hint = _HINTS.get(response.status_code, "")
            raise DeliveryError(f"{url} rejected the lines: {problem}{hint}")
        return problem, None


def _account(response: httpx2.Response) -> Delivery | None:
    try:
        return decode_delivery(response.headers.get("Dynometer-Account", ""))
    except msgspec.DecodeError:
        return None


_HINTS = {
    401: " Pass the drain secret: --to https://APP:SECRET@HOST",
    404: " (is Dynometer at that address?)",
}
