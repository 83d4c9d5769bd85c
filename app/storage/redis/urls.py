"""Addresses that name several hosts: scheme+kind://USER:PASSWORD@HOST:PORT,HOST:PORT/PATH?OPTIONS."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from app.storage.interface import StoreError


class Host(NamedTuple):
    """Where a server listens."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Hosts:
    """Such an address, taken apart."""

    def __init__(self, url: str, port: int, form: str) -> None:
        """
        Args:
            port: of hosts that name none.
            form: what an address must look like, for the error.
        Raises:
            StoreError: it does not.
        """
        try:
            self._url = urlsplit(url)
            self._user, _, hosts = self._url.netloc.rpartition("@")
            self.hosts = [_host(self._url, each, port) for each in hosts.split(",")]
        except ValueError:  # its text may quote a part of the password
            raise StoreError(
                f"REDIS_URL cannot be read: it must be {form}, with / # ? @ : in a password "
                "written as %2F %23 %3F %40 %3A"
            ) from None
        self.path = self._url.path.strip("/")
        self.tls = self._url.scheme.startswith("rediss")

    def url_of(self, host: Host, path: str = "") -> str:
        """The address of one host, with the same user, password and options."""
        scheme = "rediss" if self.tls else "redis"
        user = f"{self._user}@" if self._user else ""
        query = f"?{self._url.query}" if self._url.query else ""
        return f"{scheme}://{user}{host}/{path}{query}"


def _host(url: SplitResult, text: str, port: int) -> Host:
    one = urlsplit(f"{url.scheme}://{text}")
    if not one.hostname:
        raise ValueError(text)
    return Host(one.hostname, one.port or port)
