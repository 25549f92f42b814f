"""The audit log: sealed by several workers, every way to tamper with it named, cut with an anchor, looked through."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from garage.core import chain
from garage.db.models import Audit, User
from garage.db.people_models import AuditSeal
from garage.errors import GarageError
from garage.services import accounts, audits, backups, projects, sealing, service_accounts
from garage.services.audits import Search
from garage.services.context import Caller, Context, audit
from garage.worker.housekeeping import Housekeeper, remove_logs
from garage.worker.sealer import Sealer
from tests.conftest import Clock
from tests.inproc.served import wait_until

DAY = 86_400.0


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def say(ctx: Context, count: int, actor: str = "alice", action: str = "machine.start") -> None:
    with ctx.db.write() as session:
        for number in range(count):
            audit(session, ctx, actor, action, f"m{number}", size="tiny", note="é\u2028\n", share=0.1)


def sealed(ctx: Context) -> None:
    while sealing.seal(ctx):
        pass


def by_hand(ctx: Context, *statements: str) -> None:
    """What somebody does who owns the database, and has taken its guard away."""
    with ctx.db.engine.begin() as connection:
        for table in ("audit", "audit_seal"):
            connection.execute(text(_drop(connection, table)))
        for statement in statements:
            connection.execute(text(statement))


def _drop(connection: Connection, table: str) -> str:
    return f"DROP TRIGGER {table}_kept" + (f" ON {table}" if connection.dialect.name == "postgresql" else "")


@pytest.fixture
def guard(ctx: Context):
    """A database that is used again gets its guard back."""
    yield
    from garage.db import append_only

    with ctx.db.engine.begin() as connection:
        append_only.install(connection)


def test_what_is_sealed_is_whole_and_goes_on(ctx: Context, admin: Caller, alice: Caller) -> None:
    say(ctx, sealing.BATCH)
    assert sealing.verify(ctx, admin).number == 0
    sealed(ctx)
    proof = sealing.verify(ctx, admin)
    assert proof.whole
    assert (proof.first, proof.waiting) == (1, 0)
    assert proof.number == proof.entries > sealing.BATCH
    say(ctx, 2)
    assert sealing.verify(ctx, admin).waiting == 2
    sealed(ctx)
    assert sealing.verify(ctx, admin, number=proof.number, hash_=proof.hash).number == proof.number + 2
    with refused("forbidden"):
        sealing.verify(ctx, alice)


def test_several_sealers_make_one_chain(ctx: Context, admin: Caller) -> None:
    done = threading.Event()

    def keep_sealing() -> None:
        while not done.is_set():
            sealing.seal(ctx)

    workers = [threading.Thread(target=keep_sealing) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(20):
        say(ctx, 3)
    done.set()
    for worker in workers:
        worker.join()
    sealed(ctx)
    proof = sealing.verify(ctx, admin)
    assert proof.whole
    assert proof.entries >= 60


@pytest.mark.parametrize(
    ("statement", "reason", "entry"),
    [
        ("UPDATE audit SET actor = 'bob' WHERE id = {third}", "changed", "third"),
        ("UPDATE audit SET at = at + 0.001 WHERE id = {third}", "changed", "third"),
        ("UPDATE audit SET detail = '{{}}' WHERE id = {third}", "changed", "third"),
        ("DELETE FROM audit WHERE id = {third}", "missing", "third"),
        ("DELETE FROM audit_seal WHERE number = 3", "added", "third"),
        ("DELETE FROM audit_seal WHERE number < 4", "added", "first"),
        ("DELETE FROM audit WHERE id <= {third}; DELETE FROM audit_seal WHERE number < 3", "cut", "third"),
        ("DELETE FROM audit WHERE id <= {third}; DELETE FROM audit_seal WHERE number <= 3", "cut", "fourth"),
        ("UPDATE audit_seal SET hash = '{zeros}' WHERE number = 3", "changed", "third"),
        (
            "UPDATE audit_seal SET signature = '00' WHERE number = (SELECT max(number) FROM audit_seal)",
            "signature",
            "last",
        ),
    ],
)
@pytest.mark.usefixtures("guard")
def test_the_first_broken_entry_is_named(ctx: Context, admin: Caller, statement: str, reason: str, entry: str) -> None:
    say(ctx, 6)
    sealed(ctx)
    with ctx.db.read() as session:
        ids = list(session.scalars(select(AuditSeal.entry).order_by(AuditSeal.number)))
    places = {"first": ids[0], "third": ids[2], "fourth": ids[3], "last": ids[-1]}
    by_hand(ctx, *statement.format(zeros="0" * 64, **places).split("; "))
    proof = sealing.verify(ctx, admin)
    assert not proof.whole
    assert proof.broken is not None
    assert (proof.broken.reason, proof.broken.entry) == (reason, places[entry])


@pytest.mark.usefixtures("guard")
def test_a_chain_made_anew_by_another_key_is_no_chain_of_ours(ctx: Context, admin: Caller) -> None:
    say(ctx, 4)
    sealed(ctx)
    by_hand(ctx, "UPDATE audit SET actor = 'bob' WHERE id = 3", "DELETE FROM audit_seal WHERE number >= 3")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    sealed(replace(ctx, controller_key=Ed25519PrivateKey.generate()))
    proof = sealing.verify(ctx, admin)
    assert proof.broken is not None
    assert (proof.broken.reason, proof.broken.number) == ("signature", 3)


@pytest.mark.usefixtures("guard")
def test_with_a_noted_head_a_missing_end_is_found(ctx: Context, admin: Caller) -> None:
    say(ctx, 4)
    sealed(ctx)
    head = sealing.verify(ctx, admin)
    by_hand(
        ctx, "DELETE FROM audit_seal WHERE number = (SELECT max(number) FROM audit_seal)",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    )  # fmt: skip
    assert sealing.verify(ctx, admin).whole, "the database alone cannot tell"
    broken = sealing.verify(ctx, admin, number=head.number, hash_=head.hash).broken
    assert broken is not None
    assert broken.reason == "head"
    say(ctx, 1, "mallory")
    sealed(ctx)
    broken = sealing.verify(ctx, admin, number=head.number, hash_=head.hash).broken
    assert broken is not None
    assert (broken.reason, broken.number) == ("head", head.number)


def test_the_database_itself_changes_no_entry(ctx: Context, admin: Caller) -> None:
    say(ctx, 2)
    sealed(ctx)
    for statement in ("UPDATE audit SET actor = 'bob'", "UPDATE audit_seal SET hash = ''"):
        with pytest.raises(DBAPIError, match="append-only"), ctx.db.engine.begin() as connection:
            connection.execute(text(statement))


def test_a_log_that_was_cut_is_verified_from_its_anchor(ctx: Context, admin: Caller, clock: Clock) -> None:
    say(ctx, 5)
    sealed(ctx)
    head = sealing.verify(ctx, admin)
    clock.forward(10 * DAY)
    say(ctx, 3)
    assert sealing.truncate(ctx, 11) == 0
    gone = sealing.truncate(ctx, 5)
    assert gone == head.number - 1, "the newest seal's entry stays"
    sealed(ctx)
    assert sealing.truncate(ctx, 5) == 1
    sealed(ctx)
    proof = sealing.verify(ctx, admin, number=head.number, hash_=head.hash)
    assert proof.whole
    assert proof.first == head.number
    assert sealing.truncate(ctx, 5) == 0
    said = [item.action for item in audits.listing(ctx, admin, Search(actor="garage", action="audit")).items]
    assert said == ["audit.truncate", "audit.truncate"]


def test_old_entries_and_log_files_go_when_the_settings_say_so(ctx: Context, admin: Caller, clock: Clock) -> None:
    say(ctx, 5)
    sealed(ctx)
    clock.forward(40 * DAY)
    say(ctx, 1)
    sealed(ctx)
    log = ctx.config.home / "log" / "web"
    log.mkdir(parents=True)
    for name in ("@40000000old.s", "current"):
        (log / name).write_text("x")
    now = [0.0]
    for days, left in ((0.0, True), (30.0, False)):
        keeper = Housekeeper(replace(ctx, config=replace(ctx.config, keep_audit_days=days)), lambda: now[0])
        now[0] += 61
        keeper.turn()
        assert bool(audits.listing(ctx, admin, Search(actor="alice", until=clock() - DAY)).items) is left
    remove_logs(ctx.config.home / "log", (log / "current").stat().st_mtime + 1)
    assert [path.name for path in log.iterdir()] == ["current"]


def test_after_a_restore_the_chain_goes_on(ctx: Context, admin: Caller, tmp_path, clock: Clock) -> None:
    say(ctx, 3)
    sealed(ctx)
    path = tmp_path / "file"
    with path.open("wb") as file:
        backups.backup(ctx, admin, file)
    clock.forward(60)
    say(ctx, 2, "late")
    sealed(ctx)
    backups.restore(ctx, admin, path)
    sealed(ctx)
    assert sealing.verify(ctx, admin).whole
    assert len(audits.listing(ctx, admin, Search(actor="late")).items) == 2


def test_the_worker_seals_by_itself(ctx: Context, admin: Caller) -> None:
    sealer = Sealer(ctx)
    try:
        before = sealing.verify(ctx, admin).entries
        for count in (1, sealing.BATCH + 1):
            say(ctx, count)
            wait_until(lambda: sealing.verify(ctx, admin).waiting == 0)
        assert sealing.verify(ctx, admin).number >= before + sealing.BATCH + 2
    finally:
        sealer.end()
    say(ctx, 1)
    assert sealing.verify(ctx, admin).waiting == 1


@pytest.mark.parametrize("change", ["id", "at", "actor", "action", "project_id", "subject", "detail"])
def test_every_field_is_covered(change: str) -> None:
    entry = chain.Entry(1, 2.5, "a", "b.c", None, "d", {"e": 1})
    other: dict[str, object] = {"id": 2, "at": 2.25, "project_id": "p", "detail": {"e": 2}}
    assert chain.digest(chain.START, 1, entry) != chain.digest(
        chain.START, 1, replace(entry, **{change: other.get(change, "x")})
    )


def test_what_is_looked_for_is_found(ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock) -> None:
    arms = projects.create(ctx, alice, "arms")
    clock.forward(100)
    say(ctx, 7, "alice", "machine.stop")

    def found(who: Caller, **search: object) -> list[str]:
        return [item.action for item in audits.listing(ctx, who, Search(**search)).items]  # type: ignore[arg-type]

    assert found(admin, project="arms") == found(alice, project=arms.id) == ["project.create"]
    assert found(admin, action="machine.stop", actor="alice") == ["machine.stop"] * 7
    assert found(admin, action="machine") == ["machine.stop"] * 7
    assert found(admin, action="mach") == []
    assert found(admin, action="project", since=clock()) == []
    assert found(admin, action="machine", until=clock()) == []
    assert found(bob, actor="alice") == []
    with refused("not_found"):
        found(bob, project="arms")


def test_pages_of_a_search_have_every_entry_once(ctx: Context, admin: Caller) -> None:
    say(ctx, 7, "alice", "machine.stop")
    for oldest_first in (False, True):
        search, cursor, seen = Search(action="machine.stop", oldest_first=oldest_first), None, []
        while True:
            page = audits.listing(ctx, admin, search, cursor=cursor, limit=3)
            seen += [item.subject for item in page.items]
            if not (cursor := page.cursor):
                break
        expected = [f"m{number}" for number in range(7)]
        assert seen == (expected if oldest_first else expected[::-1])


def test_an_entry_tells_its_project_and_its_seal(ctx: Context, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    [entry] = audits.listing(ctx, alice, Search(action="project.create")).items
    assert (entry.project, entry.number) == ("arms", None)
    sealed(ctx)
    [entry] = audits.listing(ctx, alice, Search(action="project.create")).items
    assert entry.number
    with ctx.db.read() as session:
        assert entry.hash == session.get_one(AuditSeal, entry.number).hash
        assert session.get_one(Audit, entry.id).subject == "arms"


def test_nobody_acts_in_the_garages_own_name(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "garage")
    for make in (accounts.create_user, lambda ctx, who, name: service_accounts.create(ctx, alice, "garage", name)):
        with refused("invalid_field"):
            make(ctx, admin, "garage")
    with ctx.db.write() as session:  # an earlier release took the name
        session.get_one(User, alice.user_id).name = "garage"
        audit(session, ctx, "garage", "user.create", "somebody")
    assert audits.listing(ctx, replace(alice, name="garage"), Search(action="user.create")).items == []
