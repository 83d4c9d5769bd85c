"""Parses URLs with several hosts: scheme+kind://USER:PASSWORD@HOST:PORT,HOST:PORT/PATH?OPTIONS."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from app.storage.interface.errors import StoreError


class Host(NamedTuple):
    """The address of a server."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class MultiHostUrl:
    """A parsed URL with several hosts."""

    def __init__(self, url: str, port: int, form: str) -> None:
        """
        Args:
            port: of hosts given without one.
            form: an example of such a URL, for the error.
        Raises:
            StoreError: the URL cannot be read.
        """
        try:
            self._url = urlsplit(url)
            self._user, _, hosts = self._url.netloc.rpartition("@")
            self.hosts = [_host(self._url, host, port) for host in hosts.split(",")]
        except ValueError:  # its text may quote a part of the password
            raise StoreError(
                f"REDIS_URL cannot be read. Write it as {form}, with / # ? @ : in a password "
                "written as %2F %23 %3F %40 %3A."
            ) from None
        self.path = self._url.path.strip("/")
        self.has_tls = self._url.scheme.startswith("rediss")

    def url_of(self, host: Host, path: str = "") -> str:
        """The URL of one host, with the same user, password and options."""
        scheme = "rediss" if self.has_tls else "redis"
        user = f"{self._user}@" if self._user else ""
        query = f"?{self._url.query}" if self._url.query else ""
        return f"{scheme}://{user}{host}/{path}{query}"


def _host(url: SplitResult, text: str, port: int) -> Host:
    parts = urlsplit(f"{url.scheme}://{text}")
    if not parts.hostname:
        raise ValueError(text)
    return Host(parts.hostname, parts.port or port)
