"""Who opens a stream, and by what: a bearer token, or the browser's session."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from garage.api.base import COOKIES
from garage.errors import N_, GarageError
from garage.services import accounts, api_tokens
from garage.services.context import Caller, Context
from garage.services.live import Credential
from garage.services.rights import check_scope
from garage.services.vault import digest


def bearer(connection: HTTPConnection) -> str | None:
    """The token of an Authorization header (RFC 6750), None without one."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


async def authenticate(ctx: Context, connection: HTTPConnection) -> tuple[Caller, Credential]:
    """Raises `not_signed_in`. A header that is there but wrong is not made good by a cookie."""
    if token := bearer(connection):
        if caller := await run_in_threadpool(api_tokens.by_token, ctx, token):
            check_scope(caller, connection.scope.get("method", "GET"), connection.url.path)
            return caller, Credential("token", digest(token))
    elif "authorization" not in connection.headers:
        for name in COOKIES:
            if cookie := connection.cookies.get(name):
                found = await run_in_threadpool(accounts.by_session, ctx, cookie)
                if found:
                    return accounts.with_factor(ctx, *found), Credential("session", digest(cookie))
    hint = N_("sign in with “garage login”")
    raise GarageError("not_signed_in", N_("no valid token came with the request"), hint=hint)


def check_origin(connection: HTTPConnection) -> None:
    """Refuse a WebSocket that another site's page opened with our user's cookie (CWE-1385).

    Browsers always send Origin with a WebSocket and let no page set Authorization, so a bearer token needs no such check.
    """
    if bearer(connection):
        return
    host = _host_of(connection.headers.get("origin", ""))
    if not host or host != connection.headers.get("host"):
        raise GarageError("forbidden", N_("this page may not open a stream here"), hint=N_("use “garage ssh”"))


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
