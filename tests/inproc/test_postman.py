"""News leave: over real sockets, once, signed, in the reader's language, and what is dead delays nothing else."""

from __future__ import annotations

import email
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from garage.core.channels import signature
from garage.core.outward import make_guard
from garage.services import channels, outbox
from garage.services.channels import ChannelView, NewChannel
from garage.services.context import Caller, Context
from garage.services.news import of_person
from garage.worker.postman import Postman
from netd.core.floor import Allowed
from tests.conftest import Clock
from tests.inproc.served import wait_until

PATIENCE = 60.0


@dataclass
class Hooks:
    """Takes webhooks, and answers as it is told."""

    port: int = 0
    status: int = 200
    took: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    found = Hooks()
    found.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.took.append(
                (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            if self.path == "/held":
                found.hold.wait(PATIENCE)
            if self.path == "/endless":
                return self._endless()
            self.send_response(302 if self.path == "/moved" else found.status)
            self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        do_PUT = do_POST

        def _endless(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    found.hold.set()
    server.shutdown()
    server.server_close()


@contextmanager
def posting(ctx: Context, hooks: Hooks | None = None) -> Iterator[Callable[[], None]]:
    """Calling it sends all that is due, until nothing is."""
    allowed = [Allowed("127.0.0.1", "tcp", hooks.port)] if hooks else []
    postman = Postman(
        ctx, ctx.config, lambda error, locale: f"{locale}: {error['code']}", guard=lambda: make_guard([], allowed, [])
    )

    def deliver() -> None:
        while postman.turn():
            wait_until(postman.idle, PATIENCE)

    yield deliver
    postman.close()


def tell(ctx: Context, who: Caller, project: str = "arms") -> None:
    with ctx.db.write() as session:
        of_person(session, ctx, "project.added", who.user_id, project=project, by="bob")


def add(ctx: Context, who: Caller, url: str, kind: str = "slack", **more: Any) -> tuple[ChannelView, str]:
    """Named as its path."""
    return channels.add(
        ctx,
        who,
        NewChannel(kind=kind, name="way" if "secret" in url else url.rpartition("/")[2] or "way", url=url, **more),
    )


def view(ctx: Context, who: Caller, name: str = "") -> ChannelView:
    """The one of that name, or the only one."""
    [found] = [way for way in channels.listing(ctx, who) if name in ("", way.name)]
    return found


def test_each_kind_arrives_in_its_language(ctx: Context, alice: Caller, hooks: Hooks) -> None:
    _, secret = add(ctx, alice, f"{hooks.url}/bot", "json")
    add(ctx, alice, f"{hooks.url}/team", locale="ja")
    add(ctx, alice, hooks.url, "matrix", room="!abc:example.org", token="syt_very_secret")
    with posting(ctx, hooks) as deliver:
        tell(ctx, alice)
        deliver()
    took = {path: (method, headers, body) for method, path, headers, body in hooks.took}
    _method, headers, body = took["/bot"]
    assert json.loads(body)["data"]["title"] == "You are in project arms now"
    assert headers["webhook-signature"] == signature(
        secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body
    )
    assert "プロジェクト arms に加わりました" in json.loads(took["/team"][2])["text"]
    [path] = [
        path for path in took if path.startswith("/_matrix/client/v3/rooms/%21abc%3Aexample.org/send/m.room.message/")
    ]
    assert (took[path][0], took[path][1]["authorization"]) == ("PUT", "Bearer syt_very_secret")
    assert {way.waiting for way in channels.listing(ctx, alice)} == {0}
    assert all(way.sent_at and not way.error for way in channels.listing(ctx, alice))


def test_what_fails_is_tried_again_later_and_given_up_in_the_end(
    ctx: Context, alice: Caller, hooks: Hooks, clock: Clock
) -> None:
    made, _ = add(ctx, alice, f"{hooks.url}/very-secret-path")
    hooks.status = 503
    with posting(ctx, hooks) as deliver:
        for project in ("arms", "legs"):
            tell(ctx, alice, project)
        for failures in range(1, outbox.TRIES):
            deliver()
            found = view(ctx, alice)
            assert (found.failures, found.waiting, len(hooks.took)) == (failures, 2, failures), (
                "one attempt per pause, in order"
            )
            assert found.error is not None
            assert "very-secret" not in repr(found)
            clock.forward(outbox.pause(failures) - 1)
            deliver()
            assert len(hooks.took) == failures
            clock.forward(1)
        hooks.status = 200
        deliver()
        found = view(ctx, alice)
        assert (found.failures, found.waiting, found.error) == (0, 0, None)
        hooks.took.clear()
        hooks.status = 404
        tell(ctx, alice)
        for _ in range(outbox.REFUSED_TRIES):
            deliver()
            clock.forward(3600)
        assert (view(ctx, alice).waiting, len(hooks.took)) == (0, outbox.REFUSED_TRIES), "refused: given up sooner"
        channels.test(ctx, alice, made.id)
        hooks.status = 200
        deliver()
    assert json.loads(hooks.took[-1][3])["text"].startswith("A test from garage")
    assert [outbox.pause(n) for n in (1, 2, 3, 6, 100)] == [5.0, 20.0, 80.0, 3600.0, 3600.0]


def test_a_dead_way_delays_no_other(ctx: Context, alice: Caller, hooks: Hooks, clock: Clock) -> None:
    """One that never answers is under way all the time; the others get theirs meanwhile."""
    hooks.hold.clear()
    add(ctx, alice, f"{hooks.url}/held")
    add(ctx, alice, f"{hooks.url}/quick")
    with posting(ctx, hooks) as deliver:
        postman = Postman(
            ctx, ctx.config, lambda *_: "", guard=lambda: make_guard([], [Allowed("127.0.0.1", "tcp", hooks.port)], [])
        )
        for number in range(3):
            tell(ctx, alice, f"p{number}")
        wait_until(
            lambda: postman.turn() >= 0 and [path for _, path, _, _ in hooks.took].count("/quick") == 3, PATIENCE
        )
        assert [path for _, path, _, _ in hooks.took].count("/held") == 1
        assert view(ctx, alice, "held").waiting == 3
        hooks.hold.set()
        wait_until(postman.idle, PATIENCE)
        postman.close()
        clock.forward(3600)  # on a slow server its time was over meanwhile
        deliver()
    assert view(ctx, alice, "held").waiting == 0


def test_those_that_fail_never_take_all_threads(ctx: Context, alice: Caller) -> None:
    for _ in range(6):
        add(ctx, alice, "https://dead.example.org/")
    tell(ctx, alice)
    with ctx.db.write() as session:
        for way in session.query(channels.Channel):
            way.failures = 3
    add(ctx, alice, "https://well.example.org/")
    tell(ctx, alice)
    chosen = outbox.claim(ctx, 8, 4)
    assert [delivery.doubtful for delivery in chosen] == [False, True, True, True, True]
    assert outbox.claim(ctx, 3, 0) == []


SPECIAL = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "[fd00::1]",
    "0x7f000001",
    "2130706433",
    "[::ffff:127.0.0.1]",
)


def test_nothing_special_is_reached(ctx: Context, alice: Caller, hooks: Hooks) -> None:
    """The same guard as for images (tests/kernel/test_fetching.py has all of it); here: the channel really asks it."""
    others = Hooks(port=hooks.port + 1 if hooks.port < 65_000 else hooks.port - 1)
    for host in SPECIAL:
        add(ctx, alice, f"http://{host}:{hooks.port}/steal")
    tell(ctx, alice)
    with posting(ctx, others) as deliver:
        deliver()
    assert hooks.took == []
    assert {way.error["code"] for way in channels.listing(ctx, alice) if way.error} == {"forbidden"}
    assert len([way for way in channels.listing(ctx, alice) if way.error]) == len(SPECIAL)


def test_redirects_are_not_followed_and_no_body_is_read(ctx: Context, alice: Caller, hooks: Hooks) -> None:
    add(ctx, alice, f"{hooks.url}/moved")
    add(ctx, alice, f"{hooks.url}/endless")
    with posting(ctx, hooks) as deliver:
        tell(ctx, alice)
        deliver()
    assert sorted(path for _, path, _, _ in hooks.took) == ["/endless", "/moved"]
    moved, endless = (view(ctx, alice, name) for name in ("moved", "endless"))
    assert (moved.error or {})["params"]["status"] == 302
    assert endless.sent_at


def test_nothing_secret_is_logged(ctx: Context, alice: Caller, hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hooks.status = 500
    add(ctx, alice, f"{hooks.url}/very-secret-path?token=very-secret")
    add(ctx, alice, hooks.url, "matrix", room="!abc:example.org", token="syt_very-secret")
    with posting(ctx, hooks) as deliver:
        tell(ctx, alice)
        deliver()
    assert "answered 500" in caplog.text
    assert "very-secret" not in caplog.text


KILLED = """
import random, sys, time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from garage.config import Config
from garage.core.outward import make_guard
from garage.db.session import Database
from garage.services.context import Context
from garage.services.vault import Vault
from garage.worker.postman import Postman
from netd.core.floor import Allowed
from pathlib import Path
home, url, key, port = sys.argv[1:]
config = Config(home=Path(home), database_url=url)
ctx = Context(Database(config.sqlalchemy_url), config, time.time, random.Random(1), Vault(key.encode()), Ed25519PrivateKey.generate())
postman = Postman(ctx, config, lambda *_: "", guard=lambda: make_guard([], [Allowed("127.0.0.1", "tcp", int(port))], []))
assert postman.turn() == 1
postman.close()
"""


def test_a_worker_that_is_killed_between_sending_and_saying_so(ctx: Context, alice: Caller, hooks: Hooks) -> None:
    """A process of its own, SIGKILL: another one sends it once more, with the same id, and then it is done."""
    import time

    ctx = replace(ctx, clock=time.time)
    add(ctx, alice, f"{hooks.url}/team")
    tell(ctx, alice)
    key = ctx.vault._fernet
    secret = __import__("base64").urlsafe_b64encode(key._signing_key + key._encryption_key).decode()
    argv = [sys.executable, "-c", KILLED, str(ctx.config.home), ctx.config.database_url, secret, str(hooks.port)]
    died = subprocess.run(
        argv, env={**os.environ, "GARAGE_FAILPOINT": "1"}, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(hooks.took) == 1
    with posting(ctx, hooks) as deliver:
        deliver()
        assert len(hooks.took) == 1, "it may still be at work"
    later = replace(ctx, clock=lambda: time.time() + outbox.CLAIM + 1)
    with posting(later, hooks) as deliver:
        deliver()
        deliver()
    assert len(hooks.took) == 2
    assert len({headers["webhook-id"] for _, _, headers, _ in hooks.took}) == 1
    assert view(ctx, alice).waiting == 0


def test_an_old_workers_late_word_changes_nothing(ctx: Context, alice: Caller, clock: Clock) -> None:
    add(ctx, alice, "https://hooks.example.org/")
    tell(ctx, alice)
    [old] = outbox.claim(ctx, 8, 4)
    clock.forward(outbox.CLAIM + 1)
    [new] = outbox.claim(ctx, 8, 4)
    outbox.sent(ctx, old)
    assert view(ctx, alice).waiting == 1
    channels.remove(ctx, alice, view(ctx, alice).id)
    outbox.sent(ctx, new)


# --- e-mail -----------------------------------------------------------------------------------------------------------


class Letters:
    """What an SMTP server of this test took."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refuse = ""

    async def handle_RCPT(
        self, _server: object, _session: object, envelope: Any, address: str, _options: object
    ) -> str:
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        self.taken.append(email.message_from_bytes(envelope.content, policy=default))
        return "250 OK"


class Office(Controller):
    """On a free port; the base class asks whether its own port answers before that is known."""

    def _trigger_server(self) -> None:
        address = self.server.sockets[0].getsockname()
        with socket.create_connection(address, PATIENCE) as asking:
            asking.recv(100)


@dataclass
class PostOffice:
    letters: Letters
    ctx: Context


@pytest.fixture
def office(ctx: Context, tmp_path: Path) -> Iterator[PostOffice]:
    """A real SMTP server that wants STARTTLS and a password, and a garage that knows it."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    letters = Letters()

    def check(_server: object, _session: object, _envelope: object, _mechanism: str, given: Any) -> AuthResult:
        right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"garage", b"of the garage")
        return AuthResult(success=right, handled=False)

    controller = Office(
        letters,
        hostname="127.0.0.1",
        port=0,
        ready_timeout=PATIENCE,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=check,
    )
    controller.start()
    port = controller.server.sockets[0].getsockname()[1]
    (tmp_path / "password").write_text("of the garage\n")
    smtp = {"host": "localhost", "port": port, "from": "Garage <garage@example.org>", "user": "garage",
            "password_file": str(tmp_path / "password"), "ca_file": str(certificate)}  # fmt: skip
    yield PostOffice(
        letters, replace(ctx, config=replace(ctx.config, smtp=smtp, public_url="https://garage.example.org"))
    )
    controller.stop()


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "mail.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_an_e_mail_with_its_code_first(office: PostOffice, alice: Caller) -> None:
    ctx = office.ctx
    made, _ = channels.add(ctx, alice, NewChannel(kind="mail", name="me", address="alice@example.org", locale="ja"))
    with posting(ctx) as deliver:
        deliver()
        [letter] = office.letters.taken
        assert (letter["To"], letter["From"]) == ("alice@example.org", "Garage <garage@example.org>")
        code = letter["Subject"].rpartition(" ")[2]
        channels.confirm(ctx, alice, made.id, code)
        tell(ctx, alice)
        deliver()
    told = office.letters.taken[1]
    assert told["Subject"] == "[garage] プロジェクト arms に加わりました"
    assert "https://garage.example.org/projects/arms" in told.get_content()
    assert told["X-Garage-Delivery"] in told["Message-ID"]
    assert view(ctx, alice).sent_at


def test_a_mail_server_that_is_not_what_it_should_be(office: PostOffice, alice: Caller, clock: Clock) -> None:
    channels.add(office.ctx, alice, NewChannel(kind="mail", name="me", address="alice@example.org"))
    right = dict(office.ctx.config.smtp)

    def tried(**wrong: Any) -> dict[str, Any]:
        ctx = replace(office.ctx, config=replace(office.ctx.config, smtp=right | wrong))
        clock.forward(3600)
        with posting(ctx) as deliver:
            deliver()
        return view(ctx, alice, "me").error or {}

    assert tried(ca_file="")["text"].startswith("the mail server's certificate")
    assert tried(password_file="/nowhere")["code"] == "config"
    assert tried(security="tls")["code"] == "network_error"
    Path(right["password_file"]).write_text("wrong")
    assert tried()["params"]["status"] == 535
    assert office.letters.taken == []
    Path(right["password_file"]).write_text("of the garage")
    assert tried() == {}
    assert len(office.letters.taken) == 1
    office.letters.refuse = "550 nobody of that name"
    channels.add(office.ctx, alice, NewChannel(kind="mail", name="gone", address="gone@example.org"))
    with posting(office.ctx) as deliver:
        deliver()
    assert (view(office.ctx, alice, "gone").error or {})["params"]["status"] == 550
