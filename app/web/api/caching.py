"""Cache headers for answers about a time for which no new data can arrive."""

from __future__ import annotations

from hashlib import blake2b

from fastapi import Request
from fastapi.responses import Response

_DIGEST_BYTES = 12
_ONE_HOUR = "private, max-age=3600"
_ONE_WEEK = "private, max-age=604800, immutable"


def cacheable(response: Response, request: Request, *, is_final: bool) -> Response:
    """The response with an ETag (RFC 9110, section 8.8.3), or 304 if the client has it already.

    It is `private` because it depends on the caller's token. `is_final`: not even a replay of old
    lines can change it.
    """
    tag = f'"{blake2b(response.body, digest_size=_DIGEST_BYTES).hexdigest()}"'
    headers = {"ETag": f"W/{tag}", "Cache-Control": _ONE_WEEK if is_final else _ONE_HOUR}
    header = request.headers.get("if-none-match", "")
    tags = {candidate.strip().removeprefix("W/") for candidate in header.split(",")}
    if tag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response
