"""The registry over real sockets: join, long-polls, reports, leaving, and what strangers send."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest

from garage.gateway.overlay import BURST, MAX_JOIN, MAX_REPORT, Bucket
from garage.services import invitations, registry, sites
from garage.services.context import Caller, Context
from garage.shell.tls import make_certificate
from netd import wire
from netd.core.token import parse_token
from netd.errors import NetdError
from netd.shell import registry as client
from tests.inproc.overlay_nodes import FakeNode, invite, member, request
from tests.inproc.served import Served, serving, wait_until


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def bearer(node: FakeNode) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.answer.credential}"}


def poll(served: Served, node: FakeNode, wait: float = 0) -> httpx.Response:
    spec, table = node.versions
    url = f"/overlay/v1/spec?after={spec}&table={table}&wait={wait:g}"
    return served.http.get(url, headers=bearer(node), timeout=wait + 10)


def post(served: Served, path: str, content: bytes, node: FakeNode | None = None) -> httpx.Response:
    return served.http.post(f"/overlay/v1/{path}", content=content, headers=bearer(node) if node else {})


class Waiting:
    """A long-poll in a thread; `done` when it was answered."""

    def __init__(self, served: Served, node: FakeNode, wait: float = 20) -> None:
        self.response: httpx.Response | None = None
        self.at = 0.0
        self._thread = threading.Thread(target=self._run, args=(served, node, wait))
        self._thread.start()

    def _run(self, served: Served, node: FakeNode, wait: float) -> None:
        with httpx.Client(base_url=served.url, timeout=30) as http:
            spec, table = node.versions
            url = f"/overlay/v1/spec?after={spec}&table={table}&wait={wait:g}"
            self.response = http.get(url, headers=bearer(node))
            self.at = time.monotonic()

    def result(self) -> httpx.Response:
        self._thread.join(30)
        assert self.response is not None
        return self.response


def polling(served: Served, count: int) -> None:
    """Wait until so many nodes do."""
    wait_until(lambda: len(served.app.state.overlay.news._waiters) == count, 20)


def test_a_node_hears_what_its_peers_see_of_it(served: Served, ctx: Context, admin: Caller) -> None:
    one, other = member(ctx, admin, "one", 1), member(ctx, admin, "other", 2)
    one.poll()
    link = one.spec.links[0]
    seen = wire.LinkState(number=link.number, state="up", seen_at=f"198.51.100.7:{link.port + 1}")
    said = wire.LinkReport(applied_version=0, table_version=0, endpoints=("10.0.0.1:51820",))
    assert post(served, "report", msgspec.json.encode(said), one).status_code == 204
    said = wire.LinkReport(applied_version=0, table_version=0, links=(seen,))
    assert post(served, "report", msgspec.json.encode(said), other).status_code == 204
    answer = served.http.get("/overlay/v1/outside", headers=bearer(one))
    assert wire.decode(answer.content, wire.Outside) == wire.Outside(address4="198.51.100.7", way4="symmetric")
    assert served.http.get("/overlay/v1/outside").status_code == 401


def test_netds_own_client_joins_polls_reports_and_leaves(served: Served, ctx: Context, admin: Caller) -> None:
    token = invite(ctx, admin, "tsukuba")
    answer, public = client.join(served.url, token, request(ctx, token.secret, 1))
    spec = wire.open_sealed(answer.spec, public, wire.LinkSpec)
    table = wire.open_sealed(answer.table, public, wire.Table)
    mine = client.Registry(served.url, b"", answer.credential)
    assert mine.fetch(spec.version, table.version, 0) is None
    other = member(ctx, admin, "other", 2)
    news = mine.fetch(spec.version, table.version, 5)
    assert news is not None
    assert news.spec is not None
    assert news.table is not None
    assert len(wire.open_sealed(news.spec, public, wire.LinkSpec).links) == 1
    mine.report(wire.LinkReport(applied_version=spec.version, table_version=table.version))
    assert sites.get(ctx, admin, "tsukuba").nodes[0].applied_version == spec.version
    mine.leave()
    with pytest.raises(NetdError, match="401"):
        mine.fetch(0, 0, 0)
    other.poll()
    assert other.spec.links == ()


def test_a_refused_join_tells_netd_why(served: Served, ctx: Context, admin: Caller) -> None:
    token = invite(ctx, admin, "tsukuba")
    with pytest.raises(NetdError, match="3600 s behind") as caught:
        client.join(served.url, token, request(ctx, token.secret, 1, time=ctx.clock() - 3600))
    assert caught.value.hint
    client.join(served.url, token, request(ctx, token.secret, 1))
    with pytest.raises(NetdError) as caught:
        client.join(served.url, token, request(ctx, token.secret, 2))
    assert caught.value.code == "token"


def test_a_self_signed_registry_is_pinned_by_the_token(ctx: Context, admin: Caller, tmp_path: Path) -> None:
    certificate, private = make_certificate("127.0.0.1")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "tls.crt").write_bytes(certificate)
    (keys / "tls.key").write_bytes(private)
    secure = replace(ctx, config=replace(ctx.config, listen="127.0.0.2:0"))
    with serving(secure, listen="127.0.0.2:0") as running:
        url = running.url.replace("127.0.0.1", "127.0.0.2")
        text = invitations.invite(secure, admin, "tsukuba", own_name="origin")[1]
        token = parse_token(text)
        assert len(token.certificate) == 32
        answer, _ = client.join(url, token, request(ctx, token.secret, 1))
        assert client.Registry(url, token.certificate, answer.credential).fetch(0, 0, 0) is not None
        with pytest.raises(NetdError, match="another certificate"):
            client.Registry(url, b"x" * 32, answer.credential).fetch(0, 0, 0)


class Listener:
    """A TLS server that is not the registry: keeps every byte that it is told."""

    def __init__(self, folder: Path) -> None:
        certificate, private = make_certificate("127.0.0.1")
        (folder / "tls.crt").write_bytes(certificate)
        (folder / "tls.key").write_bytes(private)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self.told = b""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError), self._tls.wrap_socket(self._socket.accept()[0], server_side=True) as peer:
            while data := peer.recv(65_536):
                self.told += data

    def end(self) -> bytes:
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()
        return self.told


def test_whoever_shows_another_certificate_is_told_no_token(ctx: Context, admin: Caller, tmp_path: Path) -> None:
    listener, token = Listener(tmp_path), replace(invite(ctx, admin, "tsukuba"), certificate=b"x" * 32)
    with pytest.raises(NetdError, match="another certificate"):
        client.join(listener.url, token, request(ctx, token.secret, 1))
    assert listener.end() == b""


def test_a_registry_with_another_key_than_the_tokens_is_not_joined(served: Served, ctx: Context, admin: Caller) -> None:
    """Its certificate may be anybody's, as behind a proxy; the documents are signed by the one that invited, or by nobody."""
    token = invite(ctx, admin, "tsukuba")
    with pytest.raises(NetdError, match="not the registry that invited") as caught:
        client.join(served.url, replace(token, registry_key=b"x" * 32), request(ctx, token.secret, 1))
    assert caught.value.hint
    for pem in ("", "no key", make_certificate("127.0.0.1")[0].decode()):
        with pytest.raises(NetdError, match="not the registry that invited"):
            client.registry_key(pem, token.registry_key)


def test_polls_and_reports_are_not_logged_unless_they_are_refused(
    served: Served, ctx: Context, admin: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    one = member(ctx, admin, "one", 1)
    with caplog.at_level("INFO", logger="garage.access"):
        assert poll(served, one).status_code == 204
        assert post(served, "report", msgspec.json.encode(one.said("waiting")), one).status_code == 204
        assert [record.message for record in caplog.records] == []
        assert post(served, "report", b"{}", one).status_code == 400
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)  # a line is written when its answer has been sent
    assert [record.message.split(" ", 1)[1][:28] for record in caplog.records] == ["POST /overlay/v1/report 400 "]


def test_a_repeated_join_over_http_gives_the_same_credential(served: Served, ctx: Context, admin: Caller) -> None:
    body = msgspec.json.encode(request(ctx, invite(ctx, admin, "tsukuba").secret, 1))
    first, again = post(served, "join", body), post(served, "join", body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["credential"] == again.json()["credential"]
    assert first.headers["cache-control"] == "no-store"


def test_peers_learn_of_a_removal_at_once(served: Served, ctx: Context, admin: Caller) -> None:
    nodes = [member(ctx, admin, f"site{n}", n) for n in range(1, 4)]
    for node in nodes:
        node.poll()
    waiting = [Waiting(served, node) for node in nodes]
    polling(served, 3)
    sites.remove(ctx, admin, "site3")
    began = time.monotonic()
    assert [one.result().status_code for one in waiting] == [200, 200, 401]
    for node, one in zip(nodes[:2], waiting, strict=False):
        node.take(msgspec.json.decode(one.result().content, type=wire.News))
        assert node.to("site3") == []
    slowest = max(one.at for one in waiting) - began
    print(f"dropped {slowest * 1000:.0f} ms after the removal")
    assert slowest < 5


def test_a_waiting_node_hears_of_a_join_and_not_of_reports(served: Served, ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    began, waiting = time.monotonic(), Waiting(served, one, wait=2)
    polling(served, 1)
    assert post(served, "report", msgspec.json.encode(two.said("waiting")), two).status_code == 204
    assert waiting.result().status_code == 204
    assert waiting.at - began > 1.9
    delays = []
    for n in range(3, 6):
        one.poll()
        waiting = Waiting(served, one)
        polling(served, 1)
        member(ctx, admin, f"site{n}", n)
        joined = time.monotonic()
        assert waiting.result().status_code == 200
        delays.append(waiting.at - joined)
    print(f"a peer hears of a join after {statistics.median(delays) * 1000:.0f} ms")
    assert min(delays) < 10, "half of what it would wait"


def test_a_poll_without_news_is_quick(served: Served, ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    poll(served, one)
    times = []
    for _ in range(100):
        began = time.perf_counter()
        assert poll(served, one).status_code == 204
        times.append(time.perf_counter() - began)
    print(f"poll without news: {statistics.median(times) * 1000:.2f} ms")
    assert min(times) < 0.02, "overlay.poll measures it"


def test_the_registry_makes_the_topologys_next_steps_by_itself(served: Served, ctx: Context, admin: Caller) -> None:
    """A rotation, from the wish to the last removed link, with nothing but polls and reports from both nodes."""
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    (old,) = one.to("two")
    sites.rotate(ctx, admin, "one")
    waiting = Waiting(served, one, wait=1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (len(one.spec.links) != 1 or one.to("two")[0].number == old.number):
        for node in (one, two):
            node.poll()
            node.report()
        time.sleep(0.2)
        ctx.clock.forward(1)  # type: ignore[attr-defined]
    waiting.result()
    assert [link.own_key for link in one.to("two")] == [2]


def test_strangers_and_voided_credentials(served: Served, ctx: Context, admin: Caller, alice: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    registry.leave(ctx, one.id)
    for headers in ({}, {"Authorization": "Bearer x"}, bearer(one), served.as_(alice)):
        for method, path in (("GET", "spec"), ("POST", "report"), ("POST", "leave")):
            refused = served.http.request(method, f"/overlay/v1/{path}", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")
            assert refused.headers["content-type"] == "application/problem+json"


def test_what_cannot_be_read_is_refused(served: Served, ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    good = msgspec.json.encode(request(ctx, invite(ctx, admin, "two").secret, 2))
    broken = [b"", b"{", b"[]", b"\xff" * 9, b"[" * 5000, good.replace(b'"node"', b'"knot"'), good[:-1] + b',"x":1}']
    broken += [good.replace(b"node1", bad) for bad in (b"NODE", b"a.b", b"a" * 70, b"x\\u0000")]
    broken += [
        good.replace(b"203.0.113.2:51820", b"evil.example:51820"),
        good.replace(b"10.2.0.0/20", b"10.2.0.0/20%eth0"),
    ]
    for body in broken:
        refused = post(served, "join", body)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request"), body[:80]
    said = msgspec.json.encode(one.said())
    for body in (
        b"",
        b"{}",
        b"null",
        said[:-1] + b',"site":"two"}',
        said.replace(b'"applied_version":', b'"applied_version":-'),
    ):
        refused = post(served, "report", body, one)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request"), body[:80]
    for query in ("after=x", "after=-1", "table=1.5", "wait=1e9", "after=" + "9" * 40, "table=²"):
        refused = served.http.get(f"/overlay/v1/spec?{query}", headers=bearer(one))
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")
    assert post(served, "join", good).status_code == 201


def test_sizes_and_rates_are_bounded(served: Served, ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    for path, limit, who in (("join", MAX_JOIN, None), ("report", MAX_REPORT, one)):
        refused = post(served, path, b" " * (limit + 1), who)
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    said = msgspec.json.encode(one.said())
    answers = [post(served, "report", said, one).status_code for _ in range(int(BURST) + 20)]
    assert answers[0] == 204
    assert answers[-1] == 429
    assert post(served, "report", msgspec.json.encode(two.said("waiting")), two).status_code == 204


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    bucket = Bucket(lambda: now[0])
    assert [bucket.take("a") for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    assert bucket.take("b")
    now[0] = 1.0
    assert [bucket.take("a") for _ in range(3)] == [True, True, False]


def test_a_lying_report_touches_nobody(served: Served, ctx: Context, admin: Caller) -> None:
    one, two, three = (member(ctx, admin, name, n) for n, name in enumerate(("one", "two", "three"), 1))
    for node in (one, two):
        node.poll()
    before = [(node.id, registry.news(ctx, node.id, *node.versions)) for node in (two, three)]
    foreign = wire.LinkState(number=two.to("three")[0].number, state="down", seen_at="198.51.100.66:1")
    refused = post(served, "report", msgspec.json.encode(one.said(links=(foreign,))), one)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert [(node.id, registry.news(ctx, node.id, *node.versions)) for node in (two, three)] == before
    sites.rotate(ctx, admin, "one")
    stolen = one.said("waiting", keys=(wire.PublicKey(number=2, key=two.request.key),))
    refused = post(served, "report", msgspec.json.encode(stolen), one)
    assert (refused.status_code, refused.json()["code"]) == (409, "key_in_use")


def test_the_registry_stops_with_nodes_waiting(ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    with serving(ctx) as running:
        waiting = Waiting(running, one, wait=50)
        wait_until(lambda: running.app.state.overlay.news._waiters)
    assert waiting.result().status_code == 204
