"""Answers about a time of which nothing new can come: browsers and scripts may keep them."""

from __future__ import annotations

from hashlib import blake2b

from fastapi import Request
from fastapi.responses import Response

_DIGEST_BYTES = 12
_HOUR = "private, max-age=3600"
_FOR_EVER = "private, max-age=604800, immutable"


def kept(response: Response, request: Request, *, for_ever: bool) -> Response:
    """The answer with an ETag (RFC 9110, section 8.8.3), or 304 for who has it already. `private`,
    because it is for whoever showed this token. `for_ever`: not even a replay can change it.
    """
    tag = f'"{blake2b(response.body, digest_size=_DIGEST_BYTES).hexdigest()}"'
    headers = {"ETag": f"W/{tag}", "Cache-Control": _FOR_EVER if for_ever else _HOUR}
    asked = request.headers.get("if-none-match", "")
    known = {each.strip().removeprefix("W/") for each in asked.split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response
