"""The certificate that the service shows, and its renewal without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

from app.config import ConfigError

log = logging.getLogger(__name__)

# TLS 1.3, and of 1.2 what has forward secrecy; AES-128 with SHA-256 and SHA-1 among it, since
# Logplex speaks 1.2 with AES-128 alone.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"

_shown: list[Certificate] = []  # of this process


class Certificate:
    """A chain and its key, as PEM files."""

    def __init__(self, chain: Path, key: Path) -> None:
        """
        Raises:
            ConfigError: they cannot be used.
        """
        self._files = (chain, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(CIPHERS)
        try:
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificate {chain} with the key {key} cannot be used ({error}): "
                "expected PEM files, the chain first and the key of its first certificate"
            ) from None
        _shown.append(self)

    def reload(self) -> None:
        """Show what the files hold now to whoever connects from now on."""
        try:
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            chain = self._files[0]
            log.error("the certificate %s cannot be used, the old one stays: %s", chain, error)
        else:
            log.info("the certificate %s was read again", self._files[0])


def reload_certificates() -> None:
    """All those of this process; on SIGHUP."""
    for certificate in _shown:
        certificate.reload()


def uvicorn_context(config: Any, _: Any) -> ssl.SSLContext:
    """What uvicorn asks each worker for."""
    return Certificate(Path(config.ssl_certfile), Path(config.ssl_keyfile)).context
