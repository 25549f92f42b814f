"""The registry's HTTP side: join once, then poll, report, leave."""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from netd.core.token import Token
from netd.errors import NetdError
from netd.shell.http import Connection, Trust
from netd.wire import JoinAnswer, JoinRequest, LinkReport, News, SpecError, decode

ANSWERS = (200, 201, 400, 401, 403, 404, 409, 410, 413, 422, 429)


class Problem(msgspec.Struct):
    """problem+json (RFC 9457) as far as it is shown."""

    code: str = ""
    detail: str = ""
    title: str = ""
    hint: str = ""


class Registry:
    """One keep-alive connection to the registry; raises NetdError("registry")."""

    def __init__(self, url: str, pin: bytes, credential: str) -> None:
        self._connection = Connection(url, Trust(pin=pin), "registry")
        self._credential = credential

    def fetch(self, spec: int, table: int, wait: float) -> News | None:
        """What is newer than these versions; None when there is no news within `wait` seconds."""
        path = f"/overlay/v1/spec?after={spec}&table={table}&wait={wait:g}"
        status, body = self._connection.ask("GET", path, None, wait + 10, self._credential)
        try:
            return decode(body, News) if status == 200 else None
        except SpecError as error:
            raise NetdError("registry", f"an answer that cannot be read: {error.text[:200]}") from None

    def hurry(self) -> None:
        """From another thread: end what waits for an answer which can't come, as this server's address has changed."""
        if self._connection.stranded():
            self.abort()

    def abort(self) -> None:
        """From another thread: end whatever waits for an answer."""
        self._connection.abort()

    def close(self) -> None:
        self._connection.close()

    def report(self, report: LinkReport) -> None:
        self._connection.ask("POST", "/overlay/v1/report", msgspec.json.encode(report), 10, self._credential)

    def leave(self) -> None:
        """Whom the registry does not know any more has left."""
        self._connection.ask("POST", "/overlay/v1/leave", b"{}", 10, self._credential, taken=(200, 204, 401))


def join(url: str, token: Token, request: JoinRequest) -> tuple[JoinAnswer, Ed25519PublicKey]:
    """Use the invitation; the answer is of the registry that the token names. Raises NetdError("registry" or "token")."""
    connection = Connection(url, Trust(pin=token.certificate), "registry")
    try:
        status, body = connection.ask("POST", "/overlay/v1/join", msgspec.json.encode(request), 20, taken=ANSWERS)
    finally:
        connection.close()
    if status >= 400:
        raise _refused(status, body)
    try:
        answer = decode(body, JoinAnswer)
    except SpecError as error:
        raise NetdError("registry", f"an answer that cannot be read: {error.text[:200]}") from None
    return answer, registry_key(answer.registry_key, token.registry_key)


def registry_key(pem: str, digest: bytes) -> Ed25519PublicKey:
    """The key in `pem` if its SHA-256 is `digest`."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey) or not hmac.compare_digest(
        hashlib.sha256(key.public_bytes_raw()).digest(), digest
    ):
        raise NetdError(
            "registry",
            "that is not the registry that invited",
            hint="its key is another one than the token names; ask its operator for a new line",
        )
    return key


def _refused(status: int, body: bytes) -> NetdError:
    try:
        problem = decode(body, Problem)
    except SpecError:
        problem = Problem(detail=f"status {status}")
    text = problem.detail or problem.title or f"status {status}"
    return NetdError("token" if "token" in problem.code else "registry", text[:500], hint=problem.hint[:500])
