"""How a registry answers just now: certificate, clock, credential, documents. For `netd doctor`; nothing is taken over."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from netd.core.doctor_site import Registered
from netd.errors import NetdError
from netd.membership import Membership
from netd.shell.http import Connection, Trust
from netd.wire import News, Outside, SpecError, decode

SOON = 3.0
"""Seconds for one step."""
TAKEN = (200, 204, 400, 401, 403, 404, 429, 500, 502, 503)


@dataclass(frozen=True, slots=True)
class Answered:
    """`off`: seconds that this clock is ahead of the registry's; `within`: how exact that is."""

    registered: Registered
    off: float | None = None
    within: float = 1.0
    outside: Outside | None = None


def look(url: str, member: Membership | None, credential: str = "", versions: tuple[int, int] = (0, 0)) -> Answered:
    """`member`: None to look at a registry that was not joined yet: nothing secret is sent then, and it may be anybody's. `versions`: of
    LinkSpec and Table in force."""
    try:
        shown = _certificate(url)
    except (OSError, ValueError) as error:
        refused = isinstance(error, ConnectionRefusedError)
        reached = isinstance(error, ssl.SSLError)
        told = "nothing listens there" if refused else str(error) or type(error).__name__
        return Answered(Registered(url, told, reached))
    seen = Registered(url, certificate=shown, pinned=member.certificate if member else "", applied=versions)
    if seen.pinned and seen.pinned != shown:
        return Answered(seen)
    return _converse(seen, member, credential)


def _certificate(url: str) -> str:
    """SHA-256 of what is shown, "" without TLS; nothing is said to whoever shows it. Raises OSError or ValueError."""
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise ValueError("that is no address: write https://HOST:PORT")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = where.port or (443 if where.scheme == "https" else 80)
    with socket.create_connection((where.hostname, port), SOON) as plain:
        if where.scheme == "http":
            return ""
        with context.wrap_socket(plain, server_hostname=where.hostname) as wrapped:
            return hashlib.sha256(wrapped.getpeercert(True) or b"").hexdigest()


def _converse(seen: Registered, member: Membership | None, credential: str) -> Answered:
    """A member without a pin relies on its authorities, as netd does; a stranger takes what is shown, and tells no secret."""
    pin = bytes.fromhex(member.certificate if member else seen.certificate)
    try:
        connection = Connection(seen.url, Trust(pin=pin), "registry")
        with contextlib.closing(connection):
            return _asked(connection, seen, member is not None, credential)
    except NetdError as error:
        return Answered(replace(seen, error=error.text[:200]))


def _asked(connection: Connection, seen: Registered, joined: bool, credential: str) -> Answered:
    path = f"/overlay/v1/spec?after={seen.applied[0]}&table={seen.applied[1]}&wait=0"
    began = time.time()
    status, body = connection.ask("GET", path, None, SOON, credential if joined else "", TAKEN)
    ended = time.time()
    off, within = _offset(connection.date, began, ended)
    if not joined:
        wrong = "" if status == 401 else f"it answered {status} as no registry does"
        return Answered(replace(seen, error=wrong), off, within)
    if status == 404:
        return Answered(replace(seen, error="it knows nothing of overlays (404)"), off, within)
    outside = _outside(connection, credential) if status < 300 else None
    return Answered(replace(seen, status=status, newer=_newer(status, body)), off, within, outside)


def _offset(date: str, began: float, ended: float) -> tuple[float | None, float]:
    """A Date is cut off to whole seconds, and it was written somewhere between question and answer."""
    try:
        theirs = parsedate_to_datetime(date).timestamp() + 0.5
    except (TypeError, ValueError):
        return None, 1.0
    return (began + ended) / 2 - theirs, 0.6 + (ended - began) / 2


def _newer(status: int, body: bytes) -> tuple[int, int]:
    """1 for a document that is newer than ours; its version is inside, and `netd plan` reads it."""
    if status != 200:
        return 0, 0
    try:
        news = decode(body, News)
    except SpecError:
        return 0, 0
    return int(news.spec is not None), int(news.table is not None)


def _outside(connection: Connection, credential: str) -> Outside | None:
    with contextlib.suppress(NetdError, SpecError):
        return decode(connection.ask("GET", "/overlay/v1/outside", None, SOON, credential)[1], Outside)
    return None
