"""The certificate that the service shows, and its renewal without a restart."""

from __future__ import annotations

import logging
import re
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

from app.config import ConfigError

log = logging.getLogger(__name__)

# TLS 1.3, and of 1.2 what has forward secrecy; AES-128 with SHA-256 and SHA-1 among it, since
# Logplex speaks 1.2 with AES-128 alone.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"

_PEM = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# SEQUENCE { UTCTime or GeneralizedTime, the same }.
_VALIDITY = re.compile(
    rb"\x30[\x1e-\x22](?:\x17\x0d[0-9]{12}Z|\x18\x0f[0-9]{14}Z)(?:\x17\x0d|\x18\x0f)([0-9]{12,14}Z)"
)
_LONG_TIME = 15

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


def expires_s(chain: Path) -> float:
    """Until when (Unix time) the first certificate of a PEM file holds.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        pem = _PEM.search(chain.read_text())
        if pem is None:
            raise ValueError("no certificate in it")
        return not_after_s(ssl.PEM_cert_to_DER_cert(pem[0]))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the certificate {chain} cannot be read: {error}") from None


def not_after_s(certificate: bytes) -> float:
    """Until when (Unix time) a certificate holds, in DER (RFC 5280, section 4.1.2.5): the second of
    the two times that stand side by side in it.

    Raises:
        ValueError: there are none.
    """
    times = _VALIDITY.search(certificate)
    if not times:
        raise ValueError("no validity in it")
    text = times[1].decode()
    century = "" if len(text) == _LONG_TIME else "19" if text >= "50" else "20"
    return datetime.strptime(f"{century}{text}+0000", "%Y%m%d%H%M%SZ%z").timestamp()


def reload_certificates() -> None:
    """All those of this process; on SIGHUP."""
    for certificate in _shown:
        certificate.reload()


def uvicorn_context(config: Any, _: Any) -> ssl.SSLContext:
    """What uvicorn asks each worker for."""
    return Certificate(Path(config.ssl_certfile), Path(config.ssl_keyfile)).context
