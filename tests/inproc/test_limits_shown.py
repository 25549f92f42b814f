"""What a machine may take of what its node shares: by the command and on its page."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

from garage.core.states import Event
from garage.errors import KINDS
from garage.services import accounts, api_tokens, machines
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import play
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_machine_pages import browse


def test_by_the_command(ctx: Context, shell: Shell, admin: Caller, alice: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    root = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, admin, "root")[1]})
    done = root("machine", "limit", "one.alice", "--net-mbit", "100", "--disk-iops", "0")
    assert done.stdout == "one: any IOPS (set), 250 MB/s, 100 Mbit/s (set), 8192 connections\n", done.stderr
    assert "100 Mbit/s (set)" in shell("machine", "show", "one").stdout
    back = root("machine", "limit", "one.alice", "--disk-iops", "default")
    assert back.stdout == "one: 5000 IOPS, 250 MB/s, 100 Mbit/s (set), 8192 connections\n"
    assert root("machine", "limit", "one.alice", "--net-mbit", "many").returncode == 2
    assert shell("machine", "limit", "one", "--net-mbit", "5").returncode == KINDS["forbidden"].exit
    assert "100 Mbit/s" in shell("machine", "limit", "one").stdout, "anybody who sees it may look"


def test_on_the_page(ctx: Context, admin: Caller, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    token = accounts.reset_link(ctx, admin, "root-admin")
    accounts.accept_invitation(ctx, token, "password of root-admin", "192.0.2.9")
    hers, his = browse(ctx, alice), browse(ctx, admin)
    path = f"/machines/{made.id}"
    assert "1000 Mbit/s" in hers.get(path).text
    assert "Set the limits" not in hers.get(f"{path}/change").text
    assert "Set the limits" in his.get(f"{path}/change").text
    assert his.post(f"{path}/limits", net_mbit="20", disk_iops="").status_code == 303
    assert "20 Mbit/s" in hers.get(path).text
    assert "set for this machine" in hers.get(path).text
    assert his.post(f"{path}/limits", net_mbit="-3").status_code == 422
    assert hers.post(f"{path}/limits", net_mbit="9000").status_code == 403
