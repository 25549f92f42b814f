"""`/api/v1` over HTTP: errors as `ClientError`, mutations exactly once."""

from __future__ import annotations

import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO, Any

import httpx

from garage import __version__
from garage.client.errors import ClientError, local_error
from garage.client.profiles import Profile
from garage.client.sse import Message, parse
from garage.client.tls import context_for
from garage.client.words import language

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
LONG = httpx.Timeout(900.0, connect=10.0)
"""For what the server thinks about before it answers."""
QUIET_SECONDS = 40.0
"""Silence after which an event stream counts as lost; the server says something every 15 s."""
PATIENCE, LONGEST_WAIT = 5, 10
"""How often, and for how many seconds at most, one waits who has sent too many requests."""
PAGE = 200


class Api:
    """A connection to one controller as one user. `seconds`: how long an answer may take, if less than usual."""

    def __init__(self, profile: Profile, *, seconds: float | None = None) -> None:
        self.profile = profile
        headers = {"User-Agent": f"garage/{__version__}", "Accept-Language": language(os.environ)}
        if profile.token:
            headers["Authorization"] = f"Bearer {profile.token}"
        self._http = httpx.Client(
            base_url=f"{profile.url}/api/v1",
            headers=headers,
            timeout=httpx.Timeout(seconds) if seconds else TIMEOUT,
            verify=context_for(profile.certificate) if profile.url.startswith("https") else True,
            trust_env=not profile.loopback,  # a proxy of the environment cannot reach this computer's own loopback
        )

    def get(self, path: str, **params: Any) -> Any:
        return self._send("GET", path, params={key: value for key, value in params.items() if value})

    def text(self, path: str, **params: Any) -> str:
        return self._answer("GET", path, params=params).text

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._send("POST", path, json=body)

    def login(self, body: dict[str, Any]) -> str:
        """A token for name and password. Without a key: nobody is signed in yet to whom it could belong."""
        token: str = self._answer("POST", "/login", keyed=False, json=body).json()["token"]
        return token

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("PATCH", path, json=body)

    def unkeyed(self, path: str, body: dict[str, Any]) -> None:
        """A POST that is not repeated and leaves no trace: its body is a secret, so the controller shall keep no digest of it."""
        self._answer("POST", path, keyed=False, json=body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path)

    def every(self, path: str, limit: int | None = None, **params: Any) -> list[dict[str, Any]]:
        """The items of a list, page after page, at most `limit`."""
        return list(islice(self.walk(path, **params), limit))

    def walk(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The same one by one; a page is asked for when the one before is used up."""
        while True:
            page = self.get(path, **params)
            yield from page["items"]
            params["cursor"] = page.get("cursor")
            if not params["cursor"]:
                return

    def events(self, machine: str, last_id: str = "") -> Iterator[Message]:
        """Server-sent events of a machine until the stream breaks; raises `httpx.TransportError` then."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = httpx.Timeout(QUIET_SECONDS, connect=10.0)
        stream = self._http.stream("GET", "/events", params={"machine": machine}, headers=headers, timeout=timeout)
        with stream as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield from parse(response.iter_lines())

    def download(self, path: str, file: IO[bytes], told: Callable[[int, int], None]) -> None:
        """Into an open file; `told` gets (bytes so far, bytes in all). Raises ClientError where it does not come whole."""
        try:
            with self._http.stream("GET", path, timeout=LONG) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                total, done = int(response.headers["content-length"]), 0
                for chunk in response.iter_raw():
                    file.write(chunk)
                    done += len(chunk)
                    told(done, total)
        except httpx.TransportError as error:
            raise self._away(error) from None

    def download_rest(
        self, path: str, file: IO[bytes], offset: int, size: int, told: Callable[[int, int], None]
    ) -> None:
        """What follows byte `offset`, into an open file; raises `httpx.TransportError` where it breaks off."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._http.stream("GET", path, headers=headers, timeout=TIMEOUT) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            done = file.seek(offset if response.status_code == httpx.codes.PARTIAL_CONTENT else 0)
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                told(done, size)

    def upload(self, path: str, file: IO[bytes], size: int, kind: str, told: Callable[[int, int], None]) -> Any:
        """The JSON answer to `size` bytes of an open file. Once: what it does is not done again for a lost answer."""

        def chunks() -> Iterator[bytes]:
            done = 0
            while chunk := file.read(1 << 16):
                done += len(chunk)
                told(done, size)
                yield chunk

        headers = {"Content-Type": kind, "Content-Length": str(size)}
        try:
            response = self._http.post(path, content=chunks(), headers=headers, timeout=LONG)
        except httpx.TransportError as error:
            raise self._away(error) from None
        if response.is_error:
            raise _refusal(response)
        return response.json()

    def put_file(self, path: str, file: IO[bytes], offset: int, size: int, told: Callable[[int, int], None]) -> Any:
        """The JSON answer to what follows byte `offset` of an open file; raises `httpx.TransportError` where it breaks off."""

        def chunks() -> Iterator[bytes]:
            done = file.seek(offset)
            while chunk := file.read(1 << 18):
                yield chunk
                done += len(chunk)
                told(done, size)

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - offset)}
        response = self._http.put(path, params={"offset": offset}, content=chunks(), headers=headers, timeout=LONG)
        if response.is_error:
            raise _refusal(response)
        return response.json()

    def _send(self, method: str, path: str, **given: Any) -> Any:
        response = self._answer(method, path, **given)
        return response.json() if response.content else None

    def _answer(self, method: str, path: str, *, keyed: bool = True, **given: Any) -> httpx.Response:
        if method != "GET" and keyed:
            given["headers"] = {"Idempotency-Key": str(uuid.uuid4())}
        try:
            send = self._once_more if keyed else self._http.request
            response = send(method, path, **given)
        except httpx.TransportError as error:
            raise self._away(error) from None
        if response.is_error:
            raise _refusal(response)
        return response

    def _once_more(self, method: str, path: str, **given: Any) -> httpx.Response:
        """A lost connection is tried again once: the same key makes the same mutation happen only once. Who was too quick waits."""
        try:
            response = self._http.request(method, path, **given)
        except httpx.TransportError as error:
            if _certificate_error(error):
                raise
            response = self._http.request(method, path, **given)
        for _ in range(PATIENCE):
            if (seconds := _wait(response)) is None:
                break
            time.sleep(seconds)
            response = self._http.request(method, path, **given)
        return response

    def _away(self, error: httpx.TransportError) -> ClientError:
        url = self.profile.url
        if _certificate_error(error):
            hint = "if its admin confirms a new one: garage login {url} --fingerprint sha256:…"
            return local_error(
                "forbidden", "{url} does not show the certificate that was confirmed", hint=hint, url=url
            )
        hint = "check the address, and that the server runs"
        return local_error("unavailable", "{url} does not answer: {reason}", hint=hint, url=url, reason=str(error))


def _wait(response: httpx.Response) -> float | None:
    """Seconds until a request that came too soon may come again; None where it was not that, or where one would wait for long."""
    after = response.headers.get("Retry-After", "")
    if response.status_code != 429 or not after.isdigit() or int(after) > LONGEST_WAIT:
        return None
    return float(after)


def _certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _refusal(response: httpx.Response) -> ClientError:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and "code" in body:
        return ClientError(body)
    return local_error(
        "unavailable", "this is no garage: it answered {status}", hint="check the address", status=response.status_code
    )
