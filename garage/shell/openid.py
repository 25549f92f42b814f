"""The OpenID Connect provider, over HTTP: discovery, the code's exchange, its keys and what it says of somebody.

Its address is the admin's own setting, so it may be a private one. All else is bounded: how long a conversation takes however slowly
bytes drip, how much is read, how many are held at once; a redirect is an error, and no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from garage.core import openid
from garage.core.openid import LEEWAY, Endpoints, OpenId, untrue
from garage.errors import N_, GarageError

if TYPE_CHECKING:
    import httpx
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Those with a public key. Neither "none" nor HS256: a client's secret is no proof that a token is the provider's."""
LATER = N_("try again in a few minutes; meanwhile who has a password here can sign in with it")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one conversation: seconds in all, bytes of an answer, how many at a time; for how long a discovery document is good."""

    whole: float = 15.0
    most: int = 512 * 1024
    at_once: int = 4
    fresh: float = 300.0


class HttpProvider:
    """`garage.services.openid.Provider`."""

    def __init__(self, settings: OpenId, secret_file: Path, bounds: Bounds = Bounds()) -> None:
        self._settings, self._secret_file, self._bounds = settings, secret_file, bounds
        self._room = threading.BoundedSemaphore(bounds.at_once)
        self._known: tuple[float, Endpoints] | None = None

    def address(self, redirect: str, state: str, nonce: str, verifier: str, oldest: int) -> str:
        """Where the browser goes to sign in."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        url = self._talk(self._endpoints()).authorization
        asked = {"scope": " ".join(self._settings.scopes), "state": state, "nonce": nonce}
        asked |= self._how_fresh(oldest)
        proof = {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
        found: str = prepare_grant_uri(url, self._settings.client_id, "code", redirect, **asked, **proof)
        return found

    def _how_fresh(self, oldest: int) -> dict[str, str]:
        """With `max_age` a provider has to say `auth_time`. Google, for one, says none and knows no prompt but these."""
        if self._settings.proof == "sign-in":
            return {} if oldest else {"prompt": "select_account"}
        return {"max_age": str(oldest)} | ({} if oldest else {"prompt": "login"})

    def redeem(self, code: str, redirect: str, nonce: str, verifier: str, now: float) -> Mapping[str, Any]:
        """What the provider says of whoever brought `code`, its signature and all that the protocol asks for checked."""
        found: Mapping[str, Any] = self._talk(self._redeem(code, redirect, nonce, verifier, now))
        return found

    async def _redeem(self, code: str, redirect: str, nonce: str, verifier: str, now: float) -> Mapping[str, Any]:
        there = await self._endpoints()
        token = await self._exchange(there, code, redirect, verifier)
        keys = await self._json("GET", there.keys)  # always anew: a provider changes them when it likes
        claims = self._verified(token, keys, nonce, now)
        if openid.enough(self._settings, claims) or not there.userinfo:
            return claims
        said = await self._userinfo(there.userinfo, str(token.get("access_token", "")), claims["sub"])
        return {**said, "auth_time": None, **claims}  # that one is of this sign-in: the ID token's alone

    async def _endpoints(self) -> Endpoints:
        if self._known is None or time.monotonic() - self._known[0] > self._bounds.fresh:
            issuer = self._settings.issuer
            document = await self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            self._known = time.monotonic(), openid.endpoints(document, issuer)
        return self._known[1]

    async def _exchange(self, there: Endpoints, code: str, redirect: str, verifier: str) -> Mapping[str, Any]:
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        words = {"code": code, "redirect_uri": redirect, "code_verifier": verifier}
        body = prepare_token_request("authorization_code", **words)
        method = "client_secret_basic" if there.basic else "client_secret_post"
        name, secret = self._settings.client_id, self._secret()
        if there.basic:
            name, secret = quote(name, safe=""), quote(secret, safe="")  # RFC 6749, 2.3.1
        who = ClientAuth(name, secret, method)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url, headers, body = who.prepare("POST", there.token, headers, body)
        return await self._json("POST", url, headers=headers, content=body)

    def _secret(self) -> str:
        """Read each time: a new one counts at once."""
        try:
            if self._secret_file.stat().st_mode & 0o007:
                text, hint = N_("others can read {path}"), N_("chmod 600, owner garage")
                raise GarageError("config", text, hint=hint, path=str(self._secret_file))
            return self._secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            text, hint = (
                N_("{path} cannot be read"),
                N_("it holds the client's secret; its owner is garage, its mode 600"),
            )
            raise GarageError("config", text, hint=hint, path=str(self._secret_file)) from None

    def _verified(self, token: Mapping[str, Any], keys: Mapping[str, Any], nonce: str, now: float) -> dict[str, Any]:
        """The claims of the ID token (Core 1.0, 3.1.3.7); raises `openid_failed`."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jws import JWSRegistry

        issuer, client = self._settings.issuer, self._settings.client_id
        wanted: Any = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client}}
        params = {"nonce": nonce, "client_id": client, "access_token": token.get("access_token")}
        try:
            registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
            found = jwt.decode(str(token.get("id_token", "")), _usable(keys), registry=registry)
            claims = CodeIDToken(found.claims, found.header, wanted, params)
            claims.validate(now=int(now), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise untrue(issuer, str(error)[:200] or type(error).__name__) from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= openid.MAX_SUBJECT or not subject.isprintable():
            raise untrue(issuer, "the ID token names nobody")
        return dict(claims)

    async def _userinfo(self, url: str, token: str, subject: str) -> Mapping[str, Any]:
        said = await self._json("GET", url, headers={"Authorization": f"Bearer {token}"})
        if said.get("sub") != subject:  # Core 1.0, 5.3.2
            raise untrue(self._settings.issuer, "its userinfo is of somebody else")
        return said

    async def _json(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        """An answer that is a JSON object; raises `openid_failed`."""
        import httpx

        async with httpx.AsyncClient(
            verify=_authorities(), timeout=self._bounds.whole, trust_env=False, follow_redirects=False
        ) as client:
            headers = {"Accept": "application/json", "Accept-Encoding": "identity", **more.pop("headers", {})}
            async with client.stream(method, url, headers=headers, **more) as answer:
                status, body = answer.status_code, await self._body(answer)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        raise self._unexpected(url, status, found)

    def _unexpected(self, url: str, status: int, found: object) -> GarageError:
        issuer = self._settings.issuer
        if isinstance(found, dict) and found.get("error") == "invalid_grant":
            hint = N_("start again from the sign-in page")
            return GarageError("link_expired", N_("this sign-in was used already, or took too long"), hint=hint)
        said = f", {str(found['error'])[:60]}" if isinstance(found, dict) and "error" in found else ""
        if status >= 500 or status == 429:
            return GarageError("unavailable", N_("{issuer} answers with an error"), hint=LATER, issuer=issuer)
        what = "with no JSON object" if status == 200 else f"{status}{said}"
        return untrue(issuer, f"{url.partition('?')[0]} answered {what}")

    async def _body(self, answer: httpx.Response) -> bytes:
        """Raw: what would unpack to more than was read is no JSON."""
        body = b""
        async for part in answer.aiter_raw():
            body += part
            if len(body) > self._bounds.most:
                raise untrue(self._settings.issuer, "its answer is too long")
        return body

    def _talk(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Run a conversation to its end; raises `unavailable` or `timeout`."""
        from httpx import HTTPError, InvalidURL, TimeoutException  # as the rest of this: when somebody comes this way

        issuer = self._settings.issuer
        try:
            with self._place():
                return _in_a_thread(what, self._bounds.whole)
        except (TimeoutError, TimeoutException):
            raise GarageError("timeout", N_("{issuer} is too slow"), hint=LATER, issuer=issuer) from None
        except (OSError, HTTPError, InvalidURL) as error:
            raise _away(issuer, error) from None
        finally:
            what.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A slow provider holds a few of the web process's threads, never all of them."""
        if not self._room.acquire(timeout=self._bounds.whole / 5):
            raise TimeoutError
        try:
            yield
        finally:
            self._room.release()


def _away(issuer: str, error: Exception) -> GarageError:
    reason = str(error)[:200] or type(error).__name__
    text = N_("{issuer} does not answer: {reason}")
    return GarageError("unavailable", text, hint=LATER, issuer=issuer, reason=reason)


def _in_a_thread(what: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """An event loop of its own: whoever calls may have one already."""
    done: list[Any] = []
    failed: list[BaseException] = []

    async def bounded() -> Any:
        async with asyncio.timeout(seconds):
            return await what

    def run() -> None:
        try:
            done.append(asyncio.run(bounded()))
        except BaseException as error:  # noqa: BLE001  (it is raised again where somebody waits)
            failed.append(error)

    thread = threading.Thread(target=run, name="openid", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


@cache
def _authorities() -> ssl.SSLContext:
    """Those of the system, to which an organisation adds its own. Read once: it takes longer than all else here."""
    return ssl.create_default_context()


def _usable(keys: Mapping[str, Any]) -> KeySet:
    """The public keys that sign: a set may have kinds that nobody here knows, which must not spoil the rest."""
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet, import_key

    listed = keys.get("keys")
    found: list[Any] = []
    for key in listed if isinstance(listed, list) else []:
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig":
            with suppress(JoseError, ValueError, TypeError, KeyError):
                found.append(import_key(key))
    return KeySet(found)
