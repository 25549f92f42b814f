"""The SSH stream over WebSocket: who may open it, that every end of a right closes it, half-close, back-pressure."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from garage.core.states import Event
from garage.db.models import Machine
from garage.services import accounts, api_tokens, machines, projects
from garage.services.context import Caller, Context
from tests.conftest import Clock
from tests.inproc.served import Served, echo, play, ready_machine, serving, tcp_server, wait_until

HERE = "127.0.0.3"
"""The address of the machine's row: not the one that the gateway itself listens on."""


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with tcp_server(echo, HERE) as port, serving(ctx, ssh_port=port) as running:
        yield running


def opened(served: Served, headers: dict[str, str], ref: str = "one") -> ClientConnection:
    url = f"{served.ws_url}/api/v1/machines/{ref}/ssh"
    options: dict[str, Any] = {
        "compression": None,
        "proxy": None,
        "open_timeout": 60,
        "close_timeout": 0.5,
        "legacy": True,
    }
    return connect(url, additional_headers=headers, max_size=1 << 20, **options)


def refusal(served: Served, headers: dict[str, str], ref: str = "one") -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        opened(served, headers, ref)
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body or b"")["code"]


def test_bytes_go_both_ways_and_half_close_is_kept(served: Served, ctx: Context, alice: Caller) -> None:
    machine = ready_machine(ctx, alice, "one", HERE)
    with opened(served, served.as_(alice)) as stream:
        assert stream.response
        assert stream.response.headers["garage-host-key"] == machine.host_key
        stream.send(b"hello")
        assert stream.recv(5) == b"hello"
        stream.send("eof")
        assert stream.recv(5) == b"total 5"
        assert stream.recv(5) == "eof"
        assert closed_normally(stream)
    assert served.dialled == [HERE]


def closed_normally(stream: ClientConnection) -> bool:
    with pytest.raises(ConnectionClosed) as caught:
        stream.recv(5)
    return bool(caught.value.rcvd and caught.value.rcvd.code == 1000)


def test_only_who_sees_the_machine_gets_to_it(served: Served, ctx: Context, alice: Caller, bob: Caller) -> None:
    one = ready_machine(ctx, alice, "one", HERE)
    assert refusal(served, served.as_(bob)) == (404, "not_found")
    assert refusal(served, served.as_(bob), one.id) == (404, "not_found")
    assert refusal(served, {}) == (403, "forbidden")
    assert refusal(served, {"Authorization": "Bearer nonsense"}) == (401, "not_signed_in")
    assert served.dialled == []


def test_a_machine_that_is_off_is_refused_with_what_helps(served: Served, ctx: Context, alice: Caller) -> None:
    one = ready_machine(ctx, alice, "one", HERE)
    machines.stop(ctx, alice, "one")
    play(ctx, one.id, Event.OFF)
    assert refusal(served, served.as_(alice)) == (409, "wrong_state")


def test_a_machine_whose_port_is_closed_is_a_502(ctx: Context, admin: Caller, alice: Caller) -> None:
    with socket.socket() as unused:
        unused.bind((HERE, 0))
        with serving(ctx, ssh_port=unused.getsockname()[1]) as running:
            ready_machine(ctx, alice, "one", HERE)
            assert refusal(running, running.as_(alice)) == (502, "ssh_failed")


def test_another_sites_page_cannot_use_the_browsers_cookie(served: Served, ctx: Context, alice: Caller) -> None:
    ready_machine(ctx, alice, "one", HERE)
    _, cookie = accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")
    held = {"Cookie": f"garage={cookie}"}
    for origin in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1"},
    ):
        assert refusal(served, held | origin) == (403, "forbidden")
    with opened(served, held | {"Origin": served.url}) as stream:
        stream.send(b"x")
        assert stream.recv(5) == b"x"
        accounts.sign_out(ctx, cookie)
        assert closed(stream) == 4401


def closed(stream: ClientConnection) -> int:
    """The close code, which must come within 2 s."""
    began = time.monotonic()
    with pytest.raises(ConnectionClosed) as caught:
        stream.recv(5)
    seconds = time.monotonic() - began
    assert seconds < 2
    assert caught.value.rcvd
    print(f"closed after {seconds * 1000:.0f} ms: {caught.value.rcvd}")
    return caught.value.rcvd.code


def _token_deleted(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    for token in api_tokens.listing(ctx, bob):
        api_tokens.delete(ctx, bob, token.id)


def _disabled(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    accounts.set_disabled(ctx, admin, "bob", True)


def _removed(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    projects.remove_member(ctx, admin, "lab", "bob")


def _machine_deleted(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    machines.delete(ctx, admin, machine)


def _machine_off(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    play(ctx, machine, Event.POWERED_OFF)


def _expired(ctx: Context, admin: Caller, bob: Caller, machine: str, clock: Clock) -> None:
    clock.forward(2 * 86_400)


Ending = Callable[[Context, Caller, Caller, str, Clock], None]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (_token_deleted, 4401),
        (_disabled, 4401),
        (_expired, 4401),
        (_removed, 4403),
        (_machine_deleted, 4409),
        (_machine_off, 4409),
    ],
)
def test_every_end_of_a_right_closes_the_stream(
    served: Served, ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock, end: Ending, code: int
) -> None:
    projects.create(ctx, alice, "lab")
    projects.set_member(ctx, alice, "lab", "bob", "member")
    made = machines.create(ctx, alice, machines.NewMachine(name="one", project="lab", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    secret = api_tokens.create(ctx, bob, "short", days=1)[1]
    with opened_at_loopback(served, ctx, made.id, {"Authorization": f"Bearer {secret}"}) as stream:
        stream.send(b"x")
        assert stream.recv(5) == b"x"
        end(ctx, admin, bob, made.id, clock)
        assert closed(stream) == code


def opened_at_loopback(served: Served, ctx: Context, machine_id: str, headers: dict[str, str]) -> ClientConnection:
    with ctx.db.write() as session:
        session.get_one(Machine, machine_id).ipv4 = HERE
    return opened(served, headers, machine_id)


def test_an_unreachable_node_alone_closes_nothing(served: Served, ctx: Context, alice: Caller) -> None:
    """libvirt being away says nothing about the machine: whoever works on it goes on working."""
    one = ready_machine(ctx, alice, "one", HERE)
    with opened(served, served.as_(alice)) as stream:
        play(ctx, one.id, Event.SILENT)
        time.sleep(0.2)
        stream.send(b"x")
        assert stream.recv(5) == b"x"


def test_who_reads_slowly_holds_the_machine_back_and_not_our_memory(ctx: Context, admin: Caller, alice: Caller) -> None:
    sent = [0]

    def flood(connection: socket.socket) -> None:
        connection.settimeout(1)
        try:
            while sent[0] < 1 << 30:
                sent[0] += connection.send(b"x" * 65536)
        except OSError:
            connection.close()

    with tcp_server(flood, HERE) as port, serving(ctx, ssh_port=port) as running:
        ready_machine(ctx, alice, "one", HERE)
        with opened(running, running.as_(alice)) as stream:
            stream.recv(5)
            time.sleep(1.5)
            print(f"a reader that stops takes {sent[0] / 1e6:.1f} MB")
            assert sent[0] < 32_000_000


def test_a_machine_that_reads_slowly_holds_the_client_back(ctx: Context, admin: Caller, alice: Caller) -> None:
    release = threading.Event()

    def slow(connection: socket.socket) -> None:
        release.wait(20)
        total = 0
        while data := connection.recv(1 << 20):
            total += len(data)
        connection.sendall(b"%d" % total)
        connection.close()

    with tcp_server(slow, HERE) as port, serving(ctx, ssh_port=port) as running:
        ready_machine(ctx, alice, "one", HERE)
        with opened(running, running.as_(alice)) as stream:
            progress = [0]

            def send() -> None:
                for _ in range(320):
                    stream.send(b"x" * 131_072)
                    progress[0] += 131_072
                stream.send("eof")

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(1)
            stalled = progress[0]
            print(f"a machine that stops reading takes {stalled / 1e6:.1f} MB")
            assert stalled < 32_000_000
            release.set()
            sender.join(10)
            assert stream.recv(10) == b"%d" % (320 * 131_072)


def test_a_user_holds_a_bounded_number_of_streams(served: Served, ctx: Context, alice: Caller) -> None:
    ready_machine(ctx, alice, "one", HERE)
    headers = served.as_(alice)
    held = [opened(served, headers) for _ in range(64)]
    assert refusal(served, headers) == (409, "quota_exceeded")
    for stream in held:
        stream.close()
    wait_until(lambda: not served.app.state.parts.hub._carried)
    opened(served, headers).close()


def test_random_frames_do_no_harm(served: Served, ctx: Context, alice: Caller) -> None:
    ready_machine(ctx, alice, "one", HERE)
    with opened(served, served.as_(alice)) as stream:
        sends: list[Any] = ["", "not eof", b"", os.urandom(70_000)]
        for frame in sends:
            stream.send(frame)
        got = 0
        while got < 70_000:
            got += len(stream.recv(5))
    too_large = opened(served, served.as_(alice))
    with pytest.raises(ConnectionClosed):  # noqa: PT012  (while it is sent, or when one listens next)
        too_large.send(b"x" * 3_000_000)
        too_large.recv(5)


def test_a_right_that_ends_cuts_even_who_does_not_read(ctx: Context, admin: Caller, alice: Caller) -> None:
    """The goodbye cannot be delivered, so the machine's side is cut without it."""
    cut = threading.Event()

    def flood(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            cut.set()

    with tcp_server(flood, HERE) as port, serving(ctx, ssh_port=port) as running:
        ready_machine(ctx, alice, "one", HERE)
        view, secret = api_tokens.create(ctx, alice, "short")
        with opened(running, {"Authorization": f"Bearer {secret}"}):
            time.sleep(0.5)
            api_tokens.delete(ctx, alice, view.id)
            wait_until(cut.is_set, 2)
            wait_until(lambda: not running.app.state.parts.hub._carried, 2)
