"""Ways out: what is taken and what is not, whose they are, and that their secrets stay secret."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from garage.core import channels as core
from garage.core.channels import Message, call_of, mail_of, read_smtp, signature
from garage.errors import GarageError
from garage.services import channels, news, outbox, projects
from garage.services.channels import NewChannel
from garage.services.context import Caller, Context
from tests.conftest import Clock, on_disk
from tests.inproc.test_news import outgoing, refused

URL = "https://hooks.example.org/T1/very-secret-path"
SMTP = {"host": "mail.example.org", "from": "Garage <garage@example.org>"}
SLACK = NewChannel(kind="slack", name="team", url=URL)
MATRIX = NewChannel(
    kind="matrix", name="room", url="https://matrix.example.org", room="!abc:example.org", token="syt_very_secret"
)
MAIL = NewChannel(kind="mail", name="me", address="alice@example.org")
FACTS = {"machine": "one.arms", "error": {"code": "disk_full"}}
MESSAGE = Message(
    "0123456789abcdef0123", "machine.failed", 1_800_000_000.0, "one failed", "It is <!channel> & full", "https://g/m", FACTS
)  # fmt: skip


def mailing(ctx: Context) -> Context:
    return replace(ctx, config=replace(ctx.config, smtp=SMTP))


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        *((replace(SLACK, url=url), "/url") for url in ("", "ftp://example.org/", "https://a:b@example.org/", "https://", "x y")),
        *((replace(SLACK, **{name: "x"}), f"/{name}") for name in ("room", "token", "address")),
        *((replace(SLACK, name=name), "/name") for name in ("", " a", "a\nb", "x" * 65, "\u202e")),
        (replace(SLACK, kind="teams"), "/kind"),
        (replace(SLACK, wanted=["node.silent"]), "/wanted"),
        (replace(SLACK, wanted=["machine.ready", "machine.ready"]), "/wanted"),
        (replace(SLACK, locale="fr"), "/locale"),
        *((replace(MATRIX, room=room), "/room") for room in ("", "#abc:example.org", "!a b", "!a\r\nb")),
        *((replace(MATRIX, token=token), "/token") for token in ("", "short", "with space in it", "x" * 9 + "\r\nX: y", "ä" * 9)),
        *((replace(MAIL, address=address), "/address") for address in (
            "", "alice", "alice@", "@example.org", "a b@example.org", "alice@example.org\r\nBcc: eve@example.org",
            "alice@example.org, eve@example.org",
            "<alice@example.org>", '"a"@example.org', "alice@exa..mple.org", "アリス@example.org")),
        (replace(MAIL, url=URL), "/url"),
    ],
)  # fmt: skip
def test_what_is_not_taken(ctx: Context, alice: Caller, wanted: NewChannel, pointer: str) -> None:
    with refused("invalid_field", pointer):
        channels.add(mailing(ctx), alice, wanted)
    assert channels.listing(ctx, alice) == []


def test_whose_they_are(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    hers, _ = channels.add(ctx, alice, SLACK)
    of_arms, _ = channels.add(ctx, alice, replace(SLACK, project="arms"))
    assert [way.id for way in channels.listing(ctx, alice)] == [hers.id]
    assert [way.id for way in channels.listing(ctx, admin, "arms")] == [of_arms.id]
    for who in (bob, admin):
        for act in (channels.test, channels.remove):
            with refused("not_found"):
                act(ctx, who, hers.id)
    with refused("forbidden"):
        channels.test(ctx, bob, of_arms.id)
    with refused("forbidden"):
        channels.listing(ctx, bob, "arms")
    with refused("forbidden"):
        channels.add(ctx, bob, replace(SLACK, project="arms"))
    with refused("invalid_field", "/kind"):
        channels.add(mailing(ctx), alice, replace(MAIL, project="arms"))
    changed = channels.change(ctx, admin, of_arms.id, wanted=["machine.failed"], locale="ja")
    assert (changed.wanted, changed.locale, changed.project) == (["machine.failed"], "ja", "arms")
    channels.remove(ctx, alice, hers.id)
    assert channels.listing(ctx, alice) == []


def test_no_more_than_ten(ctx: Context, alice: Caller) -> None:
    for _ in range(channels.MOST):
        channels.add(ctx, alice, SLACK)
    with refused("quota_exceeded"):
        channels.add(ctx, alice, SLACK)


def test_secrets_are_kept_encrypted_and_told_once(ctx: Context, alice: Caller) -> None:
    channels.add(ctx, alice, SLACK)
    channels.add(ctx, alice, MATRIX)
    made, secret = channels.add(ctx, alice, replace(SLACK, kind="json", name="bot"))
    assert secret.startswith("whsec_")
    assert made.where == "hooks.example.org"
    views = repr(channels.listing(ctx, alice))
    stored = on_disk(ctx)
    for hidden in ("very-secret-path", "syt_very_secret", secret):
        assert hidden not in views
        assert hidden.encode() not in stored


def test_an_address_is_confirmed_by_its_code_alone(ctx: Context, alice: Caller, clock: Clock) -> None:
    with refused("wrong_state"):
        channels.add(ctx, alice, MAIL)
    ctx = mailing(ctx)
    made, _ = channels.add(ctx, alice, MAIL)
    assert (made.confirmed, outgoing(ctx)) == (False, [("me", "confirm")])
    projects.create(ctx, alice, "arms")
    with ctx.db.write() as session:
        news.of_person(session, ctx, "project.added", alice.user_id, project="arms", by="bob")
    assert outgoing(ctx) == [("me", "confirm")], "nothing else is sent there"
    with refused("wrong_state"):
        channels.test(ctx, alice, made.id)
    [letter] = outbox.claim(ctx, 8, 4)
    code = letter.target["code"]
    wrong = "11111111" if code != "11111111" else "22222222"
    for _ in range(channels.WRONG_CODES - 1):
        with refused("wrong_credentials", "/code"):
            channels.confirm(ctx, alice, made.id, wrong)
    assert channels.confirm(ctx, alice, made.id, code).confirmed
    assert "code" not in channels.unlocked(ctx, row(ctx, made.id))
    late, _ = channels.add(ctx, alice, MAIL)
    for _ in range(channels.WRONG_CODES):
        with refused("wrong_credentials"):
            channels.confirm(ctx, alice, late.id, "x")
    with refused("link_expired"):
        channels.confirm(ctx, alice, late.id, channels.unlocked(ctx, row(ctx, late.id))["code"])
    third, _ = channels.add(ctx, alice, MAIL)
    clock.forward(channels.CODE_SECONDS + 1)
    with refused("link_expired"):
        channels.confirm(ctx, alice, third.id, channels.unlocked(ctx, row(ctx, third.id))["code"])


def row(ctx: Context, id_: str) -> bytes:
    with ctx.db.read() as session:
        return session.get_one(channels.Channel, id_).target


def test_nobody_is_flooded_with_codes(ctx: Context, alice: Caller, clock: Clock) -> None:
    ctx = mailing(ctx)
    for _ in range(channels.MAIL_AN_HOUR):
        made, _secret = channels.add(ctx, alice, MAIL)
        channels.remove(ctx, alice, made.id)
    with refused("too_many_attempts"):
        channels.add(ctx, alice, MAIL)
    clock.forward(3601)
    channels.add(ctx, alice, MAIL)


def test_what_is_sent_to_each_kind() -> None:
    slack = call_of("slack", {"url": URL}, MESSAGE, 7.0)
    assert (slack.method, slack.url) == ("POST", URL)
    assert json.loads(slack.body) == {"text": "one failed\nIt is &lt;!channel&gt; &amp; full\nhttps://g/m"}
    target = core.check_target(
        "matrix", url="https://m.example.org/", room="!a/b:example.org", token="syt_token", address="", secret=""
    )
    matrix = call_of("matrix", target, MESSAGE, 7.0)
    assert (matrix.method, matrix.headers["Authorization"]) == ("PUT", "Bearer syt_token")
    assert (
        matrix.url
        == f"https://m.example.org/_matrix/client/v3/rooms/%21a%2Fb%3Aexample.org/send/m.room.message/{MESSAGE.id}"
    )
    assert json.loads(matrix.body)["msgtype"] == "m.notice"
    signed = call_of("json", {"url": URL, "secret": core.make_secret(b"k" * 32)}, MESSAGE, 7.9)
    told = json.loads(signed.body)
    assert (told["type"], told["timestamp"]) == ("machine.failed", "2027-01-15T08:00:00.000Z")
    assert (told["data"]["machine"], told["data"]["error"]) == ("one.arms", "disk_full")
    assert (signed.headers["webhook-id"], signed.headers["webhook-timestamp"]) == (MESSAGE.id, "7")
    assert signed.headers["webhook-signature"] == signature(core.make_secret(b"k" * 32), MESSAGE.id, 7, signed.body)


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (
        signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    "hostile", ["one\r\nBcc: eve@example.org", "one\nX: y\n\nbody", "\u2028x\x85y\x00", "x" * 5000, "機械" * 100]
)
def test_no_name_makes_a_header(hostile: str) -> None:
    message = replace(MESSAGE, title=hostile, text=hostile)
    mail = mail_of({"address": "alice@example.org"}, message, sender=SMTP["from"], organisation=hostile, now=7.0)
    head, _, _body = mail.as_bytes().partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert sorted(names) == sorted(
        [b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"x-garage-delivery", b"mime-version",
         b"content-type", b"content-transfer-encoding"]
    )  # fmt: skip
    assert all(len(line) <= 998 for line in mail.as_bytes().split(b"\r\n"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "x"},
        {"port": 0},
        {"port": "25"},
        {"security": "ssl"},
        {"security": "none", "user": "a"},
        {"from": "x\r\n@y"},
        {"relay": "x"},
    ],
)
def test_settings_of_the_mail_server_are_checked(wrong: dict[str, object]) -> None:
    assert read_smtp({}) is None
    assert read_smtp(dict(SMTP)) is not None
    given = wrong if wrong == {"host": "x"} else {**SMTP, **wrong}
    with pytest.raises(GarageError, check=lambda error: error.code == "config"):
        read_smtp(given)
