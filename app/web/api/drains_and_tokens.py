"""/api/v1/drains and /api/v1/tokens: permission to send and to read.

app.web.authentication requires the admin token for these routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from app.access.access_notes import loss_notice
from app.access.drain_admin import DrainAdmin, DrainAdminError
from app.access.drain_registry import APP_NAME
from app.access.drain_secrets import DRAIN_TOKEN
from app.access.drain_status import DrainStatus, drain_statuses, second_drains
from app.access.read_tokens import (
    APP_GLOB,
    NAME_LENGTH_MAX,
    new_token,
    pack_token,
    public_fields,
    unpack_token,
)
from app.access.rejected_logins import recent_rejected_logins
from app.storage.interface.access import AccessStore
from app.storage.interface.apps import AppReader
from app.storage.interface.status import StatusReader
from app.web.api.problems import Problem, bad_parameter

APPS_MAX = 1_000  # in one request
GLOBS_MAX = 100  # in one token

AppName = Annotated[str, Field(pattern=f"^{APP_NAME.pattern}$")]
AppPath = Annotated[str, Path(pattern=f"^{APP_NAME.pattern}$")]
DrainToken = Annotated[
    str, Path(pattern=f"^{DRAIN_TOKEN.pattern}$", description="HOSTNAME of the drain's messages")
]
Glob = Annotated[str, Field(pattern=f"^{APP_GLOB.pattern}$")]
T = TypeVar("T")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewDrains(_Body):
    """Apps that get permission to send."""

    apps: list[AppName] = Field(min_length=1, max_length=APPS_MAX)
    space: AppName | None = Field(
        None, description="Name of a space: one drain for it, which delivers the lines of `apps`"
    )


class Rotation(_Body):
    """How to replace a secret."""

    at_once: bool = Field(
        False, description="Reject the old secret from now on, instead of after the change of drain"
    )


class DrainCommandsBody(BaseModel):
    """The commands to run for an app. The secret in `add` is shown only here."""

    app: str
    add: str = Field(description="Command that adds the new drain at Heroku")
    remove: str = Field(
        description="Command that removes the old drain; run it once the new one counts. "
        "Empty if there is no known old drain"
    )


class AddedDrainsBody(BaseModel):
    """The commands to run, per app."""

    drains: list[DrainCommandsBody]


class RemovedDrain(BaseModel):
    """A removed drain, and the commands still to run."""

    app: str
    remove: list[str] = Field(description="Commands that remove the app's known drains at Heroku")


class SecretInfo(BaseModel):
    """An accepted secret; only its hash is stored. Times in Unix seconds."""

    generation: int
    added: int
    ends: int | None = Field(description="Time from which it is rejected; null for no such time")


class ActiveDrainInfo(BaseModel):
    """The active drain: its lines count. Times in Unix seconds."""

    token: str
    since: int = Field(description="Lines with a timestamp from here on count; 0: all lines")
    last_delivered: int


class OtherDrainInfo(BaseModel):
    """Another drain that delivers the same lines; they are not counted again."""

    token: str
    last_delivered: int
    remove: str = Field(description="Command that removes it at Heroku")


class DrainBody(BaseModel):
    """An app and its drains. Times in Unix seconds."""

    app: str
    secrets: list[SecretInfo]
    links: int = Field(description="Number of drain tokens linked to it for syslog")
    space_apps: list[str] = Field(
        description="Of the drain of a space: the apps whose lines it delivers; otherwise empty"
    )
    last_seen: int | None
    active_drain: ActiveDrainInfo | None
    other_drain: OtherDrainInfo | None


class RejectedLoginInfo(BaseModel):
    """Rejected logins at the drain, by user, token and reason. `user` and `token` are empty if the
    sent value is not an app name or a drain token. Also lines from the drain of a space that belong
    to none of its apps: `token` is their HOSTNAME. Times in Unix seconds.
    """

    user: str
    token: str
    reason: str
    count: int
    first: int
    last: int


class DrainsBody(BaseModel):
    """Every app in order of name, and the latest rejected logins, newest first."""

    drains: list[DrainBody]
    refusals: list[RejectedLoginInfo]


class NewToken(_Body):
    """A read token to create."""

    name: str = Field("", max_length=NAME_LENGTH_MAX, description="Its purpose")
    apps: list[Glob] = Field(
        default_factory=lambda: ["*"],
        min_length=1,
        max_length=GLOBS_MAX,
        description="Apps it may read: names, or patterns with * and ?",
    )
    expires: int | None = Field(None, gt=0, lt=2**40, description="Unix seconds; null for never")


class TokenBody(BaseModel):
    """A read token, without its secret. Times in Unix seconds."""

    id: str
    name: str
    apps: list[str]
    added: int
    expires: int | None


class CreatedToken(TokenBody):
    """A new read token."""

    token: str = Field(description="The token itself, shown only here")


class TokensBody(BaseModel):
    """Every read token."""

    tokens: list[TokenBody]


class AccessAdminStore(AccessStore, AppReader, StatusReader, Protocol):
    """What the administration of drains and tokens needs of the store."""


class DrainsAndTokensApi:
    """The routes."""

    def __init__(
        self, store: AccessAdminStore, drain_admin: DrainAdmin, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._drain_admin = drain_admin
        self._clock = clock
        self.router = APIRouter(prefix="/api/v1")
        routes: tuple[tuple[str, str, Any, Any, int], ...] = (
            ("GET", "/drains", self.drains, DrainsBody, 200),
            ("POST", "/drains", self.add_drains, AddedDrainsBody, 201),
            ("POST", "/drains/{app}/rotate", self.rotate_drain, DrainCommandsBody, 200),
            ("DELETE", "/drains/{app}", self.remove_drain, RemovedDrain, 200),
            ("PUT", "/drains/{space}/apps/{app}", self.allow, None, 204),
            ("DELETE", "/drains/{space}/apps/{app}", self.disallow, None, 204),
            ("PUT", "/drains/{app}/links/{token}", self.link, None, 204),
            ("DELETE", "/drains/{app}/links/{token}", self.unlink, None, 204),
            ("GET", "/tokens", self.tokens, TokensBody, 200),
            ("POST", "/tokens", self.add_token, CreatedToken, 201),
            ("DELETE", "/tokens/{token_id}", self.remove_token, None, 204),
        )
        for method, path, endpoint, model, status in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=model,
                status_code=status,
                summary=endpoint.__doc__,
            )

    async def drains(self) -> DrainsBody:
        """Apps that may send, the active drain of each, and rejected logins"""
        statuses = await drain_statuses(self._store)
        apps_with_second_drain = {status.app for status in second_drains(statuses, self._clock())}
        return DrainsBody(
            drains=[
                _drain(status, has_second_drain=status.app in apps_with_second_drain)
                for status in statuses
            ],
            refusals=[
                RejectedLoginInfo(
                    user=login.user,
                    token=login.token,
                    reason=login.reason,
                    count=login.count,
                    first=login.first_s,
                    last=login.last_s,
                )
                for login in await recent_rejected_logins(self._store)
            ],
        )

    async def add_drains(self, body: NewDrains) -> AddedDrainsBody:
        """Give apps their first drain secret: all of them, or none"""
        apps = list(dict.fromkeys(body.apps))
        if body.space is not None:
            command = await _or_problem(self._drain_admin.add(body.space, space_apps=apps))
            return AddedDrainsBody(drains=[DrainCommandsBody(**command._asdict())])
        await _or_problem(self._drain_admin.ensure_unregistered(apps))
        commands = [await _or_problem(self._drain_admin.add(app)) for app in apps]
        return AddedDrainsBody(
            drains=[DrainCommandsBody(**command._asdict()) for command in commands]
        )

    async def rotate_drain(self, app: AppPath, body: Rotation | None = None) -> DrainCommandsBody:
        """Replace an app's drain secret; the new drain takes over without a gap"""
        at_once = body is not None and body.at_once
        commands = await _or_problem(self._drain_admin.rotate(app, at_once=at_once))
        return DrainCommandsBody(**commands._asdict())

    async def remove_drain(self, app: AppPath) -> RemovedDrain:
        """Remove an app's drain secrets: it can no longer send; its data stays"""
        return RemovedDrain(app=app, remove=await _or_problem(self._drain_admin.remove(app)))

    async def allow(self, space: AppPath, app: AppPath) -> None:
        """Let the drain of a space deliver the lines of an app; takes effect within 5 seconds"""
        await _or_problem(self._drain_admin.allow(space, [app]))

    async def disallow(self, space: AppPath, app: AppPath) -> None:
        """Count no more lines of an app from the drain of a space"""
        await _or_problem(self._drain_admin.disallow(space, [app]))

    async def link(self, app: AppPath, token: DrainToken) -> None:
        """Link a drain token to an app for syslog; takes effect within 5 seconds"""
        await _or_problem(self._drain_admin.link(app, token))

    async def unlink(self, app: AppPath, token: DrainToken) -> None:
        """Unlink a drain token from an app"""
        await _or_problem(self._drain_admin.unlink(app, token))

    async def tokens(self) -> TokensBody:
        """The read tokens"""
        records = await self._store.tokens()
        return TokensBody(
            tokens=[
                TokenBody.model_validate(public_fields(key, unpack_token(record)))
                for key, record in sorted(records.items())
            ]
        )

    async def add_token(self, body: NewToken) -> CreatedToken:
        """Create a read token"""
        now_s = int(self._clock())
        if body.expires is not None and body.expires <= now_s:
            raise bad_parameter("expires", body.expires, "Unix times in the future, and null")
        token, token_id, record = new_token(body.name, body.apps, now_s, body.expires or 0)
        await self._store.put_token(token_id, pack_token(record))
        return CreatedToken.model_validate({**public_fields(token_id, record), "token": token})

    async def remove_token(self, token_id: str) -> None:
        """Remove a read token; takes effect on all workers within 5 seconds"""
        if notice := await loss_notice(self._store):
            raise Problem(409, "The store lost its data", f"{notice} Nothing was changed.")
        if not await self._store.remove_token(token_id):
            raise Problem(
                404, "Unknown token", "No token has this id. GET /api/v1/tokens lists all tokens."
            )


async def _or_problem(operation: Awaitable[T]) -> T:
    """The operation's result; its errors become problems."""
    try:
        return await operation
    except DrainAdminError as error:
        raise Problem(409, "Conflict with the current state", str(error)) from error


def _drain(status: DrainStatus, *, has_second_drain: bool) -> DrainBody:
    active_drain = ActiveDrainInfo(
        token=status.active_token,
        since=status.active_since_s,
        last_delivered=status.last_delivery_s,
    )
    other_drain = OtherDrainInfo(
        token=status.other_token, last_delivered=status.other_s, remove=status.remove_other
    )
    return DrainBody(
        app=status.app,
        secrets=[
            SecretInfo(
                generation=secret.generation, added=secret.added_s, ends=secret.until_s or None
            )
            for secret in status.secrets
        ],
        links=status.links,
        space_apps=status.space_apps,
        last_seen=status.last_seen_s or None,
        active_drain=active_drain if status.active_token else None,
        other_drain=other_drain if has_second_drain else None,
    )
