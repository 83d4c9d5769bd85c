"""The TLS certificate of the service, and its renewal without a restart."""

from __future__ import annotations

import logging
import re
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

from app.config import ConfigError

log = logging.getLogger(__name__)

# TLS 1.3, and the suites of 1.2 with forward secrecy. They include AES-128 with SHA-256 and SHA-1,
# because Logplex only speaks 1.2 with AES-128.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"

_PEM = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# SEQUENCE { UTCTime or GeneralizedTime, the same }.
_VALIDITY = re.compile(
    rb"\x30[\x1e-\x22](?:\x17\x0d[0-9]{12}Z|\x18\x0f[0-9]{14}Z)(?:\x17\x0d|\x18\x0f)([0-9]{12,14}Z)"
)
_LONG_TIME = 15

_certificates: list[Certificate] = []  # of this process


class Certificate:
    """A chain and its key, as PEM files."""

    def __init__(self, chain: Path, key: Path) -> None:
        """
        Raises:
            ConfigError: the files cannot be used.
        """
        self._files = (chain, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(CIPHERS)
        try:
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"Cannot use the certificate {chain} with the key {key} ({error}). "
                "Give two PEM files: the certificate chain, and the key of its first certificate."
            ) from None
        _certificates.append(self)

    def reload(self) -> None:
        """Use the present content of the files for new connections."""
        try:
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            chain = self._files[0]
            log.error("Cannot use the new certificate %s, keeping the old one: %s", chain, error)
        else:
            log.info("Reloaded the certificate %s", self._files[0])


def expires_s(chain: Path) -> float:
    """The expiry time (Unix time) of the first certificate in a PEM file.

    Raises:
        ConfigError: the file cannot be read, or contains no certificate.
    """
    try:
        pem = _PEM.search(chain.read_text())
        if pem is None:
            raise ValueError("it contains no certificate")
        return not_after_s(ssl.PEM_cert_to_DER_cert(pem[0]))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read the certificate {chain}: {error}") from None


def not_after_s(certificate: bytes) -> float:
    """The expiry time (Unix time) of a certificate in DER (RFC 5280, section 4.1.2.5).

    It is the second of the two adjacent times in the certificate.

    Raises:
        ValueError: there are no such times.
    """
    match = _VALIDITY.search(certificate)
    if not match:
        raise ValueError("it contains no validity period")
    text = match[1].decode()
    century = "" if len(text) == _LONG_TIME else "19" if text >= "50" else "20"
    return datetime.strptime(f"{century}{text}+0000", "%Y%m%d%H%M%SZ%z").timestamp()


def has_certificates() -> bool:
    """Whether this process uses any certificate."""
    return bool(_certificates)


def reload_certificates() -> None:
    """Reload all certificates of this process; called on SIGHUP."""
    for certificate in _certificates:
        certificate.reload()


def uvicorn_context(config: Any, _: Any) -> ssl.SSLContext:
    """The TLS context of a worker; called by uvicorn."""
    return Certificate(Path(config.ssl_certfile), Path(config.ssl_keyfile)).context
