"""DELETE /api/v1/apps/{app}: removes an app. app.web.authentication requires the admin token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.access.app_removal import AppRemoval
from app.access.drain_admin import DrainAdminError
from app.web.api.drains_and_tokens import AppPath
from app.web.api.problems import Problem, bad_parameter


class RemovedApp(BaseModel):
    """A removed app, and the commands still to run."""

    app: str
    remove: list[str] = Field(description="Commands that remove the app's known drains at Heroku")


class AppsApi:
    """The route."""

    def __init__(self, removal: AppRemoval) -> None:
        self._removal = removal
        self.router = APIRouter(prefix="/api/v1")
        self.router.add_api_route(
            "/apps/{app}", self.remove, methods=["DELETE"], summary=self.remove.__doc__
        )

    async def remove(
        self,
        app: AppPath,
        confirm: Annotated[str, Query(description="The name of the app once more")] = "",
    ) -> RemovedApp:
        """Remove an app: its drain secrets, its data and its alerts, for good"""
        if confirm != app:
            raise bad_parameter("confirm", confirm, f"{app}, the name of the app once more")
        if await self._removal.unknown_apps([app]):
            raise Problem(
                404, "Unknown app", f"There is no app {app!r}. /api/v1/apps lists all known apps."
            )
        try:
            return RemovedApp(app=app, remove=await self._removal.remove(app))
        except DrainAdminError as error:
            raise Problem(409, "Conflict with the current state", str(error)) from error
