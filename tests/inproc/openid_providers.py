"""A real OpenID Connect provider in a process of its own, and a proxy before it that passes all on but the lies that a test asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "garage", "s3cret:%+ of the client"
DISCOVERY, AUTHORIZE = "/.well-known/openid-configuration", "/oauth2/authorize"
TOKEN, KEYS, USERINFO = "/oauth2/token", "/jwks", "/userinfo"
Claims = dict[str, Any]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Real:
    """oidc-provider-mock from PyPI: Authlib's own server side. It says `auth_time` of now, unless a person's claims have another."""

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


def make_key(kid: str = "lie") -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass
class Liar(Real):
    """The way to a real provider, which names this address its own, since it is asked by it. What passes can be changed, and all of it is
    noted; then our key stands beside the provider's. What the provider does not look at is: PKCE, redirect, the client's secret."""

    key: RSAKey
    claims: Claims = field(default_factory=dict)
    """Over those of the ID token, which then has our signature; None takes one away."""
    token: Callable[[Claims], str] | None = None
    """Instead of signing them."""
    over: dict[str, Claims] = field(default_factory=dict)
    """By path: over what the provider answers."""
    raw: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    """By path: what is answered instead."""
    asked: list[str] = field(default_factory=list)
    """Paths, in their order."""
    began: dict[str, dict[str, str]] = field(default_factory=dict)
    """What was asked for, by the code that came of it."""

    def agree(self, address: str, subject: str = "1001") -> str:
        return super().agree(address, subject)

    def sign(self, claims: Claims, key: Any = None, **header: Any) -> str:
        return jwt.encode({"alg": "RS256", "kid": "lie", **header}, claims, key or self.key)

    def noted(self, path: str, body: bytes, headers: Mapping[str, str], answer: httpx.Response) -> None:
        url = urlsplit(path)
        if url.path == AUTHORIZE and (code := _query(urlsplit(answer.headers.get("Location", "")).query).get("code")):
            self.began[code] = _query(url.query)
        if url.path == TOKEN and answer.status_code == 200:
            said = _query(body.decode())
            asked = self.began[said["code"]]
            proof = base64.urlsafe_b64encode(hashlib.sha256(said["code_verifier"].encode()).digest()).rstrip(b"=")
            assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
            assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", proof.decode())
            assert said["redirect_uri"] == asked["redirect_uri"]
            words = base64.b64encode(b"garage:s3cret%3A%25%2B%20of%20the%20client").decode()
            assert headers["Authorization"] == f"Basic {words}"

    def changed(self, path: str, body: bytes) -> bytes:
        """What the provider says at `path`, with the lies in it."""
        lies = bool(self.claims or self.token)
        if path == TOKEN and lies:
            said = json.loads(body)
            claims = jwt_claims(said["id_token"]) | self.claims
            claims = {name: value for name, value in claims.items() if value is not None}
            body = json.dumps({**said, "id_token": (self.token or self.sign)(claims)}).encode()
        if path == KEYS:
            ours = [self.key.as_dict(private=False)] if lies else []  # its own tokens name no key, so there is one
            body = json.dumps({"keys": [{"kty": "XYZ", "kid": "odd"}, *ours, *json.loads(body)["keys"]]}).encode()
        return json.dumps(json.loads(body) | self.over[path]).encode() if path in self.over else body


def _query(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


def jwt_claims(token: str) -> Claims:
    """Unverified."""
    body = token.split(".")[1]
    found: Claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


@contextmanager
def lying(provider: Real, key: RSAKey) -> Iterator[Liar]:
    liar = Liar("", key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, path = self.rfile.read(int(self.headers.get("Content-Length", 0))), urlsplit(self.path).path
            liar.asked.append(path)
            if path in liar.raw:
                liar.raw[path](self)
                return
            headers = {name: value for name, value in self.headers.items() if name != "Accept-Encoding"}
            answer = there.request(self.command, self.path, content=body, headers=headers)
            liar.noted(self.path, body, headers, answer)
            self._tell(answer, liar.changed(path, answer.content) if answer.status_code == 200 else answer.content)

        do_POST = do_PUT = do_GET

        def _tell(self, answer: httpx.Response, body: bytes) -> None:
            self.send_response(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name.lower() not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    liar.issuer = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with httpx.Client(
        base_url=provider.issuer, trust_env=False, timeout=60, headers={"Accept-Encoding": "identity"}
    ) as there:
        try:
            yield liar
        finally:
            server.shutdown()
            server.server_close()
