"""OpenID Connect providers: a real one in a process of its own, and one that lies in every way that a test asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "garage", "s3cret:%+ of the client"
Claims = dict[str, Any]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Real:
    """oidc-provider-mock from PyPI: Authlib's own server side."""

    issuer: str

    def person(self, subject: str, **claims: Any) -> None:
        httpx.put(f"{self.issuer}/users/{subject}", json=claims, trust_env=False).raise_for_status()

    def agree(self, address: str, subject: str) -> str:
        """Sign in there and agree; the address to which the browser is sent back."""
        return self._answer(address, {"sub": subject})

    def deny(self, address: str) -> str:
        return self._answer(address, {"action": "deny"})

    def _answer(self, address: str, form: dict[str, str]) -> str:
        told = httpx.post(address, data=form, trust_env=False)
        assert told.status_code == 302, told.text
        return told.headers["Location"]


@contextmanager
def real() -> Iterator[Real]:
    port = free_port()
    words = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield Real(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(4000):
        assert process.poll() is None, "it ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("it never listened")


def make_key(kid: str = "one") -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass
class Liar:
    """A provider whose every answer a test can change. Codes work once; PKCE, redirect and the client's secret are checked."""

    now: Callable[[], float]
    key: RSAKey
    issuer: str = ""
    claims: Claims = field(default_factory=dict)
    """Over the honest ones; None takes one away."""
    token: Callable[[Claims], str] | None = None
    """Instead of signing them."""
    document: Claims = field(default_factory=dict)
    """Over the honest discovery document."""
    userinfo: Claims = field(default_factory=dict)
    raw: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    """By path: what is answered instead."""
    asked: list[str] = field(default_factory=list)
    """Paths, in their order."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    spent: list[str] = field(default_factory=list)

    def agree(self, address: str, **more: str) -> str:
        """What the browser is sent back to, after somebody has agreed at `address`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return asked["redirect_uri"] + "?" + urlencode({"code": code, "state": asked["state"], **more})

    def answer(self, path: str, body: str, headers: Any) -> tuple[int, Claims]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, self._document()
        if path == "/keys":
            return 200, {"keys": [{"kty": "XYZ", "kid": "odd"}, self.key.as_dict(private=False)]}
        if path == "/token":
            return self._exchange({name: values[0] for name, values in parse_qs(body).items()}, headers)
        if path == "/userinfo":
            assert headers["Authorization"] == "Bearer access"
            return 200, {"sub": "1001", **self.userinfo}
        return 404, {}

    def _document(self) -> Claims:
        names = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in names.items()}, **self.document}

    def _exchange(self, said: dict[str, str], headers: Any) -> tuple[int, Claims]:
        began = self.codes.get(said["code"])
        digest = hashlib.sha256(said["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if began is None or said["code"] in self.spent:
            return 400, {"error": "invalid_grant"}
        assert (challenge, said["redirect_uri"]) == (began["code_challenge"], began["redirect_uri"])
        assert (
            headers["Authorization"]
            == "Basic " + base64.b64encode(b"garage:s3cret%3A%25%2B%20of%20the%20client").decode()
        )
        self.spent.append(said["code"])
        claims = self._honest(began["nonce"]) | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = self.token(claims) if self.token else self.sign(claims)
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": signed}

    def _honest(self, nonce: str) -> Claims:
        times = {"iat": int(self.now()), "exp": int(self.now()) + 300}
        who = {"sub": "1001", "email": "alice@example.ac.jp", "email_verified": True}
        return {"iss": self.issuer, "aud": CLIENT, "nonce": nonce, **times, **who}

    def sign(self, claims: Claims, key: Any = None, **header: Any) -> str:
        return jwt.encode({"alg": "RS256", "kid": "one", **header}, claims, key or self.key)


@contextmanager
def lying(now: Callable[[], float], key: RSAKey) -> Iterator[Liar]:
    liar = Liar(now, key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._any("")

        def do_POST(self) -> None:
            self._any(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _any(self, body: str) -> None:
            path = urlsplit(self.path).path
            if path in liar.raw:
                liar.asked.append(path)
                liar.raw[path](self)
                return
            status, told = liar.answer(path, body, self.headers)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    liar.issuer = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()
