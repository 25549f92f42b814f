"""What keeps a registry of a thousand sites small: answers in pieces, small buffers, connections kept from report to report."""

from __future__ import annotations

import asyncio
from asyncio import sslproto
from typing import Any

import pytest

from garage.gateway.overlay import PIECE, InPieces
from garage.gateway.serve import KEEP_ALIVE_SECONDS, TLS_BUFFER
from garage.services.context import Caller, Context
from garage.shell.tls import fingerprint, make_certificate
from netd.following import REPORT_EVERY
from netd.shell.registry import Registry
from tests.inproc.overlay_nodes import member
from tests.inproc.served import serving


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 10 * PIECE - 1])
def test_an_answer_in_pieces_is_whole(size: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    body = bytes(range(256)) * (size // 256 + 1)
    answer = InPieces(body[:size], 200, {"Cache-Control": "no-store"}, "application/json")
    asyncio.run(answer({"type": "http"}, None, send))  # type: ignore[arg-type]
    start, *pieces = sent
    assert (b"content-length", str(size).encode()) in start["headers"]
    assert b"".join(piece["body"] for piece in pieces) == body[:size]
    assert max(len(piece["body"]) for piece in pieces) <= PIECE
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]


def test_news_come_whole_over_tls_and_connections_are_kept(ctx: Context, admin: Caller) -> None:
    certificate, key = make_certificate("127.0.0.1")
    (ctx.config.home / "keys").mkdir(exist_ok=True)
    (ctx.config.home / "keys" / "tls.crt").write_bytes(certificate)
    (ctx.config.home / "keys" / "tls.key").write_bytes(key)
    one = member(ctx, admin, "one", 1)
    for n in range(2, 50):
        member(ctx, admin, f"site-with-a-name-so-long-{n}", n)
    with serving(ctx, listen="0.0.0.0:0") as served:
        pin = bytes.fromhex(fingerprint(certificate).removeprefix("sha256:"))
        registry = Registry(served.url, pin, one.answer.credential)
        news = registry.fetch(0, 0, 0)
        assert news is not None
        assert news.table is not None
        assert len(news.table) > PIECE / 2
        one.take(news)
        assert len(one.table.sites) == 50
        registry.report(one.said())
    assert sslproto.SSLProtocol.max_size == TLS_BUFFER
    assert KEEP_ALIVE_SECONDS > 2 * REPORT_EVERY
