"""Certificates for tests, created with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(
    directory: Path, name: str, *, rsa: bool = False, days: str = "1"
) -> tuple[Path, Path]:
    """(chain, key): the files of a self-signed certificate for the host or IP address `name`."""
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    name_type = "IP" if name.replace(".", "").isdigit() else "DNS"
    kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", days),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName={name_type}:{name}"),
            *("-out", str(chain), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key
