"""The expiry of certificates."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.config import ConfigError
from app.receivers.tls import expires_s
from tests.support.certificates import certificate


@pytest.mark.parametrize("rsa", [False, True])
@pytest.mark.parametrize("days", ["1", "90", "20000"])  # the last one ends after 2050
def test_the_expiry_agrees_with_openssl(tmp_path: Path, days: str, rsa: bool) -> None:
    chain, _ = certificate(tmp_path, "localhost", rsa=rsa, days=days)
    output = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", str(chain)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    end = datetime.strptime(output.strip(), "notAfter=%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert expires_s(chain) == end.timestamp()


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----"]
)
def test_a_file_without_a_certificate_is_named_in_the_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "chain.pem"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"Cannot read the certificate .*chain\.pem"):
        expires_s(file)
    with pytest.raises(ConfigError, match=r"Cannot read the certificate .*none\.pem"):
        expires_s(tmp_path / "none.pem")
