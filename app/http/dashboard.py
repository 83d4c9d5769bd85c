"""GET /: one plain page without scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse

from app.resolution import Resolution
from app.store.port import Store


class Dashboard:
    """The page, over a store."""

    def __init__(
        self,
        store: Store,
        resolutions: Sequence[Resolution],
        clock: Callable[[], float],
        *,
        local_mode: bool,
        public_url: str,
    ) -> None:
        self._store = store
        self.router = APIRouter()
        self.router.add_api_route("/", self.page, methods=["GET"], include_in_schema=False)

    def mount_static(self, app: FastAPI) -> None:
        """Serve what the page needs."""

    async def page(self) -> PlainTextResponse:
        """The page"""
        apps = [seen.app for seen in await self._store.seen_apps()]
        return PlainTextResponse("Dynometer\n" + "\n".join(apps) + "\n")
