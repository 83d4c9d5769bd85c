"""What pages load: style sheet and scripts of our own, and the chart library, if it is there."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

_HERE = Path(__file__).parents[1]
_OURS = _HERE / "static"
_CHARTS = _HERE / "vendor"  # where 'npm ci' puts them
_SERVED = {"uPlot.iife.min.js": "text/javascript", "uPlot.min.css": "text/css"}


def has_charts() -> bool:
    """Whether the chart library is there; without it charts are pictures."""
    return all((_CHARTS / name).is_file() for name in _SERVED)


def mount_assets(app: FastAPI) -> None:
    """Serve them under /static."""

    async def charts(name: str) -> Response:
        if name not in _SERVED or not (_CHARTS / name).is_file():
            return PlainTextResponse("Not found: 'npm ci' installs the charts.\n", 404)
        return FileResponse(_CHARTS / name, media_type=_SERVED[name])

    app.add_api_route("/static/vendor/{name}", charts, include_in_schema=False, response_model=None)
    app.mount("/static", StaticFiles(directory=_OURS), name="static")
