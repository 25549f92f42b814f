"""Server-sent events: who sees what, resuming, rights that end, a reader that does not read, a process that goes down."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from garage.core.states import Event
from garage.db.models import EventRow
from garage.services import accounts, api_tokens, events, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import Clock
from tests.inproc.served import EventReader, Served, play, serving, wait_until


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def make(ctx: Context, who: Caller, name: str) -> str:
    return machines.create(ctx, who, NewMachine(name=name, size="tiny")).id


def test_everyone_sees_their_own_projects_at_once(
    served: Served, ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    readers = {who.name: EventReader(served, served.as_(who)) for who in (admin, alice, bob)}
    one = make(ctx, alice, "one")
    delay = wait_until(lambda: readers["alice"].states)
    print(f"event after {delay * 1000:.0f} ms")
    play(ctx, one, Event.STARTED)
    make(ctx, bob, "two")
    wait_until(lambda: len(readers["root-admin"].states) == 3)
    wait_until(lambda: readers["bob"].states)
    assert readers["alice"].states == [("one", "preparing"), ("one", "booting")]
    assert readers["bob"].states == [("two", "preparing")]


def test_a_reader_of_one_machine_hears_of_no_other(served: Served, ctx: Context, alice: Caller, bob: Caller) -> None:
    one, _ = make(ctx, alice, "one"), make(ctx, alice, "two")
    reader = EventReader(served, served.as_(alice), "?machine=one")
    play(ctx, machines.get(ctx, alice, "two").id, Event.STARTED)
    play(ctx, one, Event.STARTED)
    wait_until(lambda: reader.states)
    assert reader.states == [("one", "booting")]
    assert EventReader(served, served.as_(bob), "?machine=one").status == 404


def test_resuming_gives_what_was_missed_once(served: Served, ctx: Context, alice: Caller, bob: Caller) -> None:
    reader = EventReader(served, served.as_(alice))
    one = make(ctx, alice, "one")
    wait_until(lambda: reader.states)
    last = reader.events[-1][0]
    play(ctx, one, Event.STARTED)
    make(ctx, bob, "not-hers")
    again = EventReader(served, served.as_(alice) | {"Last-Event-ID": last})
    play(ctx, one, Event.ANSWERED)
    wait_until(lambda: len(again.states) == 2)
    assert again.states == [("one", "booting"), ("one", "ready")]


@pytest.mark.parametrize("last", ["999999", "0"])
def test_what_cannot_be_resumed_starts_over(
    served: Served, ctx: Context, alice: Caller, clock: Clock, last: str
) -> None:
    make(ctx, alice, "one")
    clock.forward(2 * 86_400)
    make(ctx, alice, "two")
    assert events.prune(ctx) == 1
    reader = EventReader(served, served.as_(alice) | {"Last-Event-ID": last})
    wait_until(lambda: reader.events)
    assert reader.events[0][:2] == (str(events.latest(ctx)), "reset")
    make(ctx, alice, "three")
    wait_until(lambda: reader.states)


def test_pruning_never_gives_a_number_out_twice(ctx: Context, alice: Caller, clock: Clock) -> None:
    make(ctx, alice, "one")
    before = events.latest(ctx)
    clock.forward(2 * 86_400)
    events.prune(ctx)
    make(ctx, alice, "two")
    assert events.latest(ctx) > before


def test_a_bad_last_event_id_is_refused(served: Served, alice: Caller) -> None:
    authorization = served.as_(alice)["Authorization"].encode()
    for last in ("x", "-1", "9" * 30, "²"):
        headers = {b"Authorization": authorization, b"Last-Event-ID": last.encode()}
        answer = served.http.get("/api/v1/events", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_rights_widen_and_end_while_streaming(served: Served, ctx: Context, alice: Caller, bob: Caller) -> None:
    shared = projects.create(ctx, alice, "lab")
    reader = EventReader(served, served.as_(bob))
    projects.set_member(ctx, alice, "lab", "bob", "member")
    one = machines.create(ctx, alice, NewMachine(name="one", project=shared.name, size="tiny")).id
    wait_until(lambda: reader.states)
    projects.remove_member(ctx, alice, "lab", "bob")
    play(ctx, one, Event.STARTED)
    make(ctx, bob, "own")
    wait_until(lambda: len(reader.states) == 2)
    assert reader.states == [("one", "preparing"), ("own", "preparing")]


def test_a_stream_ends_with_its_token(served: Served, ctx: Context, alice: Caller) -> None:
    kept, ended = EventReader(served, served.as_(alice)), None
    view, secret = api_tokens.create(ctx, alice, "short")
    ended = EventReader(served, {"Authorization": f"Bearer {secret}"})
    api_tokens.delete(ctx, alice, view.id)
    print(f"event stream closed after {wait_until(ended.ended.is_set, 2):.2f} s")
    assert not kept.ended.is_set()


def test_a_stream_ends_when_its_token_expires(served: Served, ctx: Context, alice: Caller, clock: Clock) -> None:
    secret = api_tokens.create(ctx, alice, "short", days=1)[1]
    reader = EventReader(served, {"Authorization": f"Bearer {secret}"})
    clock.forward(86_401)
    wait_until(reader.ended.is_set, 2)


def test_a_browsers_session_may_listen_too(served: Served, ctx: Context, alice: Caller) -> None:
    _, cookie = accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")
    reader = EventReader(served, {"Cookie": f"garage={cookie}"})
    make(ctx, alice, "one")
    wait_until(lambda: reader.states)
    accounts.sign_out(ctx, cookie)
    wait_until(reader.ended.is_set, 2)


def test_a_reader_that_does_not_read_costs_little_and_is_told_to_start_over(
    served: Served, ctx: Context, alice: Caller
) -> None:
    host, _, port = served.url.removeprefix("http://").partition(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((host, int(port)))
    header = f"Authorization: {served.as_(alice)['Authorization']}"
    slow.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n".encode())
    reader = EventReader(served, served.as_(alice))
    project = projects.get(ctx, alice, "alice").id
    for number in range(40):
        with ctx.db.write() as session:
            data = {"name": "n", "state": "booting", "pad": "x" * 2000}
            for _ in range(100):
                session.add(
                    EventRow(at=ctx.clock(), kind="machine", project_id=project, subject=str(number), data=data)
                )
        wait_until(lambda: len(reader.events) >= 100 * (number + 1))  # noqa: B023
    slow.settimeout(5)
    got = b""
    while chunk := slow.recv(1 << 20):
        got += chunk
        if got.endswith(b"0\r\n\r\n"):
            break
    assert b"event: reset" in got[-300:]
    slow.close()


def test_many_listeners_are_cheap(served: Served, ctx: Context, alice: Caller) -> None:
    """300 listeners (over plain sockets, to measure the server and not the client), then ten changes."""
    users = [accounts.create_user(ctx, Caller("", "x", admin=True), f"user-{n}")[0] for n in range(6)]
    tokens = [served.token(Caller(user.id, user.name)) for user in users]
    host, _, port = served.url.removeprefix("http://").partition(":")
    connections = []
    for n in range(300):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(
            f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens[n % 6]}\r\n\r\n".encode()
        )
        connections.append(connection)
    for connection in connections:
        while b"\nid: " not in connection.recv(65536):
            pass
    cpu, began = time.process_time(), time.monotonic()
    for _ in range(10):
        with ctx.db.write() as session:
            session.add(EventRow(at=ctx.clock(), kind="image", project_id=None, subject="x", data={}))
        time.sleep(0.05)
    for connection in connections:
        got = b""
        while got.count(b"event: image") < 10:
            got += connection.recv(65536)
        connection.close()
    print(f"300 listeners, 10 events: {time.process_time() - cpu:.2f} CPU-s in {time.monotonic() - began:.2f} s")
    assert time.process_time() - cpu < 3


def test_a_user_holds_a_bounded_number_of_streams(served: Served, alice: Caller) -> None:
    headers = served.as_(alice)
    with httpx.Client(base_url=served.url, limits=httpx.Limits(max_connections=100), timeout=60) as http:
        held = [http.stream("GET", "/api/v1/events", headers=headers) for _ in range(65)]
        answers = [one.__enter__() for one in held]
        assert [answer.status_code for answer in answers] == [200] * 64 + [409]
        for one in held:
            one.__exit__(None, None, None)


def test_going_down_ends_streams_quickly(ctx: Context, admin: Caller) -> None:
    with serving(ctx) as running:
        reader = EventReader(running, running.as_(admin))
        poll = threading.Thread(
            target=lambda: running.http.get(
                "/node/v1/spec?after=99&wait=25", headers={"Authorization": "Bearer node-token-of-the-tests"}
            )
        )
        poll.start()
        time.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 20, "less than the poll would wait"
    assert reader.ended.is_set()
