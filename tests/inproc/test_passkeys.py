"""Security keys and passkeys as a second factor: what they let in, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.passkeys import Place, place
from garage.db.models import User
from garage.db.people_models import Passkey
from garage.services import accounts, api_tokens, codes, grants, offboarding, passkeys, second_factor
from garage.services.context import Caller, Context
from garage.services.passkeys import Answer
from tests.conftest import Clock
from tests.inproc.keyring import Key
from tests.inproc.test_access import refused

ORIGIN = "https://garage.example:8443"
PASSWORD = "password of alice"
FROM = "192.0.2.7", "Browser/1"


@pytest.fixture
def ctx(ctx: Context) -> Context:
    return replace(ctx, config=replace(ctx.config, public_url=ORIGIN))


def register(ctx: Context, who: Caller, key: Key, name: str = "key ring", origin: str = ORIGIN) -> list[str]:
    asked = passkeys.offer(ctx, who)
    assert asked is not None
    return second_factor.enrol_key(ctx, who, name, Answer(asked.sealed, key.create(asked.options, origin)))


def question(ctx: Context, name: str = "alice") -> tuple[str, passkeys.Asked]:
    """The password is right, and now a key is asked for."""
    cookie, passed = codes.begin(ctx, name, f"password of {name}", *FROM)
    assert cookie == ""
    asked = codes.asked(ctx, passed).key
    assert asked is not None
    return passed, asked


def test_a_key_lets_in_instead_of_a_code(ctx: Context, alice: Caller, clock: Clock) -> None:
    key = Key()
    assert len(register(ctx, alice, key)) == second_factor.CODES
    for _ in range(2):
        clock.forward(1)
        passed, asked = question(ctx)
        who, cookie = codes.finish(ctx, passed, "", *FROM, key=Answer(asked.sealed, key.get(asked.options, ORIGIN)))
        assert who == alice
        assert accounts.by_session(ctx, cookie) is not None
    [view] = passkeys.listing(ctx, alice)
    assert (view.name, view.used_at, view.here) == ("key ring", clock(), True)


def test_what_a_key_says_wrongly_lets_nobody_in(ctx: Context, alice: Caller, bob: Caller, clock: Clock) -> None:
    """Another challenge, origin, place, key, person, kind of answer; and nonsense of every kind."""
    key, bobs = Key(1), Key(2)
    register(ctx, alice, key)
    register(ctx, bob, bobs)
    clock.forward(1)
    passed, asked = question(ctx)
    _, others = question(ctx, "bob")
    stranger = Key(1)  # it calls itself as alice's does, and signs by another key
    right = key.get(asked.options, ORIGIN)
    for sealed, said in (
        (asked.sealed, key.get(asked.options, ORIGIN, challenge="AAAA")),
        (asked.sealed, key.get(others.options, ORIGIN)),
        (asked.sealed, key.get(asked.options, "https://garage.evil:8443")),
        (asked.sealed, key.get(asked.options, "http://garage.example:8443")),
        (asked.sealed, key.get(asked.options, ORIGIN, rpId="evil.example")),
        (asked.sealed, bobs.get(asked.options, ORIGIN)),
        (asked.sealed, stranger.get(asked.options, ORIGIN)),
        (asked.sealed, key.create(asked.options, ORIGIN, rp={"id": "garage.example"})),
        (asked.sealed, right.replace('"signature": "', '"signature": "AA')),
        *((asked.sealed, said) for said in ("{}", "[]", "x", "1", "[" * 5000, '{"id": 7}', '{"id": "\\u00e4"}')),
        (asked.sealed, right.replace("public-key", "private-key")),
    ):
        with refused("wrong_credentials"):
            codes.finish(ctx, passed, "", *FROM, key=Answer(sealed, said))
        forget_attempts(ctx)
    offered = passkeys.offer(ctx, alice)
    assert offered is not None
    for sealed in (others.sealed, offered.sealed, passed, "x"):
        with refused("link_expired"):
            codes.finish(ctx, passed, "", *FROM, key=Answer(sealed, right))
    codes.finish(ctx, passed, "", *FROM, key=Answer(asked.sealed, key.get(asked.options, ORIGIN)))


def forget_attempts(ctx: Context) -> None:
    """Of signing in: this test makes more of them than anybody may."""
    with ctx.db.write() as session:
        session.query(accounts.LoginFailure).delete()


@pytest.mark.parametrize("counts", [True, False])
def test_an_answer_is_good_once_and_for_minutes(ctx: Context, alice: Caller, clock: Clock, counts: bool) -> None:
    """Also of a passkey that has no counter; a counter that goes back is a copy of the key."""
    key = Key(counts=counts)
    register(ctx, alice, key)
    clock.forward(1)
    passed, older = question(ctx)
    clock.forward(1)
    _, asked = question(ctx)
    answer = Answer(asked.sealed, key.get(asked.options, ORIGIN))
    codes.finish(ctx, passed, "", *FROM, key=answer)
    for again in (answer, Answer(older.sealed, key.get(older.options, ORIGIN))):
        with refused("wrong_credentials"):
            codes.finish(ctx, passed, "", *FROM, key=again)
    clock.forward(1)
    passed, asked = question(ctx)
    if counts:
        key.count = 0
        with refused("wrong_credentials"):
            codes.finish(ctx, passed, "", *FROM, key=Answer(asked.sealed, key.get(asked.options, ORIGIN)))
    clock.forward(passkeys.PATIENCE + 1)
    passed, _ = question(ctx)
    key.count = 9
    with refused("link_expired"):
        codes.finish(ctx, passed, "", *FROM, key=Answer(asked.sealed, key.get(asked.options, ORIGIN)))


def test_a_key_is_registered_only_as_it_was_asked_for(ctx: Context, alice: Caller, bob: Caller) -> None:
    key, asked, others = Key(), passkeys.offer(ctx, alice), passkeys.offer(ctx, bob)
    assert asked is not None
    assert others is not None
    for said, code in (
        (key.create(asked.options, "https://garage.evil"), "wrong_credentials"),
        (key.create(asked.options, ORIGIN, challenge="AAAA"), "wrong_credentials"),
        (key.create(asked.options, ORIGIN, rp={"id": "evil.example"}), "wrong_credentials"),
        (key.get(asked.options, ORIGIN, rpId="garage.example"), "wrong_credentials"),
        ("{", "wrong_credentials"),
    ):
        with refused(code):
            second_factor.enrol_key(ctx, alice, "key", Answer(asked.sealed, said))
    with refused("link_expired"):
        second_factor.enrol_key(ctx, alice, "key", Answer(others.sealed, key.create(asked.options, ORIGIN)))
    with refused("invalid_field"):
        second_factor.enrol_key(ctx, alice, "", Answer(asked.sealed, key.create(asked.options, ORIGIN)))
    register(ctx, alice, key)
    with refused("already_exists"):
        register(ctx, bob, key)
    with refused("already_exists"):
        register(ctx, alice, key)


def test_several_keys_and_one_that_is_removed(ctx: Context, alice: Caller, clock: Clock) -> None:
    lost, kept = Key(1), Key(2)
    recovery = register(ctx, alice, lost, "lost")
    assert register(ctx, alice, kept, "kept") == [], "the recovery codes stay"
    views = {view.name: view.id for view in passkeys.listing(ctx, alice)}
    with refused("wrong_credentials"):
        second_factor.remove_key(ctx, alice, views["lost"], "123456")
    clock.forward(1)
    asked = passkeys.asked(ctx, alice)
    assert asked is not None
    second_factor.remove_key(ctx, alice, views["lost"], "", Answer(asked.sealed, kept.get(asked.options, ORIGIN)))
    with refused("not_found"):
        second_factor.remove_key(ctx, alice, views["lost"], recovery[0])
    clock.forward(1)
    passed, asked = question(ctx)
    with refused("wrong_credentials"):
        codes.finish(ctx, passed, "", *FROM, key=Answer(asked.sealed, lost.get(asked.options, ORIGIN)))
    codes.finish(ctx, passed, recovery[1], *FROM)
    second_factor.remove_key(ctx, alice, views["kept"], recovery[2])
    assert second_factor.codes_left(ctx, alice) is None, "without a factor there is nothing to recover"
    assert codes.begin(ctx, "alice", PASSWORD, *FROM)[0], "the password is enough again"


def test_the_first_key_ends_what_a_password_opened(ctx: Context, alice: Caller) -> None:
    mine, thiefs = (accounts.sign_in(ctx, "alice", PASSWORD, *FROM)[1] for _ in range(2))
    for number, name in ((1, "first"), (2, "second")):
        asked = passkeys.offer(ctx, alice)
        assert asked is not None
        said = Key(number).create(asked.options, ORIGIN)
        second_factor.enrol_key(ctx, alice, name, Answer(asked.sealed, said), cookie=mine if number == 1 else "")
        assert accounts.by_session(ctx, mine) is not None, "the second ends nothing"
        assert accounts.by_session(ctx, thiefs) is None


def test_a_key_counts_wherever_a_second_factor_does(ctx: Context, admin: Caller, alice: Caller) -> None:
    strict = replace(ctx, config=replace(ctx.config, second_factor="all"))

    def lacks() -> bool:
        with ctx.db.read() as session:
            return alice.user_id in second_factor.missing(
                session, strict, grants.of(session, session.scalars(select(User)))
            )

    assert lacks()
    recovery = register(ctx, alice, Key())
    assert not lacks()
    assert [user.name for user in accounts.list_users(ctx, admin) if user.second_factor] == ["alice"]
    with refused("second_factor"):
        api_tokens.log_in(ctx, "alice", PASSWORD, "192.0.2.7", "laptop")
    assert api_tokens.log_in(ctx, "alice", PASSWORD, "192.0.2.7", "laptop", code=recovery[0])
    second_factor.reset(ctx, admin, "alice")
    assert passkeys.listing(ctx, alice) == []
    register(ctx, alice, Key())
    offboarding.offboard(ctx, admin, "alice")
    with ctx.db.read() as session:
        assert session.scalars(select(Passkey)).all() == []


def test_a_garage_that_moves_asks_for_no_old_key(ctx: Context, alice: Caller) -> None:
    recovery = register(ctx, alice, Key())
    moved = replace(ctx, config=replace(ctx.config, public_url="https://elsewhere.example"))
    _, passed = codes.begin(moved, "alice", PASSWORD, *FROM)
    assert passed, "a second factor is still asked for"
    assert codes.asked(moved, passed).key is None
    assert [view.here for view in passkeys.listing(moved, alice)] == [False]
    assert codes.finish(moved, passed, recovery[0], *FROM)[0] == alice


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://garage.example:8443", Place("garage.example", "https://garage.example:8443")),
        ("https://garage.example:443", Place("garage.example", "https://garage.example")),
        ("http://localhost:8080", Place("localhost", "http://localhost:8080")),
        ("http://127.0.0.1:8080", Place("localhost", "http://localhost:8080")),
        ("http://[::1]:8080", Place("localhost", "http://localhost:8080")),
        ("https://192.0.2.1:8443", "address"),
        ("https://[2001:db8::1]", "address"),
        ("https://127.0.0.1:8443", "address"),
        ("http://garage.example", "plain"),
    ],
)
def test_where_browsers_take_keys(url: str, found: Place | str) -> None:
    assert place(url) == found
