"""Describes TLS errors: the failure and the fix."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_FIXES = (
    ("WRONG_VERSION_NUMBER", "the other side does not speak TLS. Use the address without TLS"),
    ("HTTP_REQUEST", "the other side does not speak TLS. Use the address without TLS"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not accepted ({reason})"),
)


def tls_problem(error: BaseException) -> str:
    """Describe the TLS error behind an error, as in "TLS failed: …"; "" if there is none."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or str(cause)
            fix = next((fix for name, fix in _FIXES if name == cause.reason), "{reason}")
            return f"TLS failed: {fix.format(reason=reason.rstrip('.'))}"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
