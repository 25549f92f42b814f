"""The audit log on its page, in the API and by the command."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from garage.errors import KINDS
from garage.services import api_tokens, audits, sealing
from garage.services.audits import Search
from garage.services.context import Caller, Context
from tests.core.test_rfc5424 import LINE
from tests.inproc.served import Served
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, as_bob, cookies, machine  # noqa: F401  (fixtures)

AUDIT = ("user=alice", "action=machine", "action=machine.create", "project=alice", "since=2026-01-01&until=2030-01-01")
MACHINE = "arm-test.alice"


@pytest.mark.parametrize("query", AUDIT)
@pytest.mark.usefixtures("cookies")
def test_the_page_looks_for_it(as_alice: Browser, query: str) -> None:
    answer = as_alice.get(f"/audit?{query}")
    assert answer.status_code == 200
    value = query.partition("&")[0].partition("=")[2]
    assert f'"{value}"' in answer.text or f"selected>{value}" in answer.text


@pytest.mark.parametrize(("part", "found"), [("arm-test", True), ("arm_test", False), ("other", False)])
@pytest.mark.usefixtures("machine")
def test_what_happened_to_something_is_found_by_part_of_its_name(
    ctx: Context, alice: Caller, as_alice: Browser, part: str, found: bool
) -> None:
    subjects = {item.subject for item in audits.listing(ctx, alice, Search(subject=part)).items}
    assert subjects == ({MACHINE} if found else set())
    shown = as_alice.get(f"/audit?subject={part}&until=2030-12-31").text
    assert f"garage audit export --subject {part} --until 2031-01-01" in shown
    if found:
        assert MACHINE in shown
        assert "<dt>size</dt>" in shown


@pytest.mark.parametrize("query", ["since=2026-13-40", "since=x", "user=a b", "action=A", "until=9999-12-31"])
def test_a_query_that_cannot_be_is_told(as_alice: Browser, query: str) -> None:
    assert as_alice.get(f"/audit?{query}").status_code == 422


def test_only_admins_have_it_verified(ctx: Context, as_admin: Browser, as_alice: Browser) -> None:
    assert as_alice.get("/audit?verify=1").status_code == 403
    assert "Verify the seals" not in as_alice.get("/audit").text
    sealing.seal(ctx)
    assert "garage audit verify --head" in as_admin.get("/audit?verify=1").text
    with ctx.db.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE id = 2"))
    told = as_admin.get("/audit?verify=1").text
    assert "broken at entry 2" in told
    assert "the entry was removed" in told


def test_the_command_lists_exports_and_verifies(ctx: Context, shell: Shell, served: Served, admin: Caller) -> None:
    root = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, admin, "root")[1]})
    sealing.seal(ctx)
    assert "invited" not in root("audit", "list", "--action", "token").stdout
    assert "user.create" in root("audit", "list", "--user", "root-admin", "--action", "user.create").stdout
    assert "alice" in root("audit", "list", "--subject", "lic", "--action", "user").stdout
    assert root.json("audit", "list", "--subject", "zebra") == {"items": []}
    assert root("audit", "list", "--since", "tomorrow").returncode == 2
    assert root.json("audit", "list", "--until", "2001-01-01") == {"items": []}
    lines = root("audit", "export").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(1, len(lines) + 1))
    for line in root("audit", "export", "--format", "rfc5424").stdout.splitlines():
        assert LINE.fullmatch(line), line
    proof = root.json("audit", "verify")
    assert isinstance(proof, dict)
    assert proof["whole"] is True
    head = f"{proof['number']}:{proof['hash']}"
    assert head in root("audit", "verify", "--head", head).stdout
    assert root("audit", "verify", "--head", "x").returncode == 2
    other = root("audit", "verify", "--head", f"{proof['number']}:{'0' * 64}")
    assert other.returncode == KINDS["wrong_state"].exit
    assert "not the head that was noted" in other.stderr
    assert shell("audit", "verify").returncode == KINDS["forbidden"].exit
