"""`make up`, `down` and `purge` as one types them, on a server where nothing of ours runs yet: interrupted, repeated, upgraded.

It happens in the node of tests/netlab.py, with real packages, services, libvirt and QEMU (tests/machine/setup_inside.py).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.db.migrate import head
from garage.shell.images import Manifest
from tests import postgres
from tests.machine.setup_inside import SetUpInside

pytestmark = pytest.mark.machine

TABLES = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select name from sqlite_master').fetchall())"
ROUTES = ("sh", "-c", "ip route show table all; ip -6 route show table all")
OTHERS = re.compile(r"up0|table local|^::1 ")
"""In the routes of the lab itself."""
NOTHING: dict[str, list[str]] = {"processes": [], "links": [], "routes": [], "nftables": [], "domains": []}
STEPS = ("tools", "libraries", "pages", "program", "garage", "image", "services", "machine")
PASSWORD = "pa55-of-the-test"
NEW_MIGRATION_FILE = "9999_of_the_test.py"
NEW_MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head()}"


def upgrade() -> None:
    op.create_table("of_the_test", sa.Column("id", sa.Integer(), primary_key=True))
'''


@pytest.fixture(scope="module")
def inside(image_store: tuple[Path, Manifest]) -> Iterator[SetUpInside]:
    made = SetUpInside(image_store[0])
    yield made
    made.close()
    assert not made.base.exists()


def services(inside: SetUpInside) -> dict[str, list[int]]:
    """The processes of each service."""
    commands = {"web": ("garage-server", "web"), "worker": ("garage-server", "worker"), "netd": ("netd", "run")}
    return {name: inside.processes("/venv/bin/", *words) for name, words in commands.items()}


def traces(inside: SetUpInside) -> dict[str, list[str]]:
    """What this garage has on the server outside of GARAGE_HOME."""
    links = inside.run("ip", "-br", "link").splitlines()
    return {
        "processes": [f"{pid}" for pid in inside.processes()],
        "links": [line.split()[0] for line in links if not line.startswith(("lo ", "up0@"))],
        "routes": [line for line in inside.run(*ROUTES).splitlines() if not OTHERS.search(line)],
        "nftables": inside.run("nft", "list", "tables").splitlines(),
        "domains": inside.domains("--all"),
    }


def keep_none_waiting(inside: SetUpInside) -> None:
    """As an admin would: with a machine in a pool it would depend on the moment how many there are."""
    settings = inside.home / "garage.toml"
    if settings.exists() and "pool_ram_share" not in (text := settings.read_text()):
        settings.write_text(f"pool_ram_share = 0.0\n{text}")


def test_killed_anywhere_it_goes_on(inside: SetUpInside) -> None:
    for step, after in (("libraries", 1.0), ("services", 0.5), ("machine", 1.0)):
        inside.kill_up(step, after)
        keep_none_waiting(inside)
    said = inside.make("up")
    assert "first is ready and lets us in" in said
    assert len(inside.domains()) == 1
    assert "interrupted run" in (inside.home / "log" / "setup.log").read_text()


def test_again_it_changes_nothing(inside: SetUpInside) -> None:
    before = services(inside)
    said = inside.make("up")
    assert "nothing changed" in said
    assert not [step for step in STEPS if f"ok  {step}" in said]
    assert services(inside) == before
    assert all(len(pids) == 1 for pids in before.values()), before


def test_down_stops_all_and_keeps_all(inside: SetUpInside) -> None:
    inside.make("down")
    assert traces(inside) == NOTHING
    assert len(list((inside.home / "machines").iterdir())) == 1


def test_up_with_new_code_migrates_and_machines_run_again(inside: SetUpInside) -> None:
    (inside.checkout / "garage/db/migrations/versions" / NEW_MIGRATION_FILE).write_text(NEW_MIGRATION)
    before = (inside.home / "venv").resolve()
    said = inside.make("up")
    assert [step for step in STEPS if f"ok  {step}" in said] == ["program", "garage", "services"]
    assert not before.exists()
    inside.wait_ready("first")
    assert inside.garage("ssh", "first", "--", "hostname").strip() == "first"
    assert "of_the_test" in inside.run("python3", "-c", TABLES, str(inside.home / "db" / "garage.db"))


def test_up_moves_to_postgresql_while_machines_run(inside: SetUpInside, tmp_path: Path) -> None:
    """With its rows, and without a restart of any machine; the password is in no command line and in no file that others read."""
    cluster = postgres.start({"unix_socket_permissions": "0777"})
    try:
        database = cluster.create("garage")
        url = database.replace(f"//{postgres.USER}@", f"//{postgres.USER}:{PASSWORD}@")
        boots = inside.garage("ssh", "first", "--", "cat /proc/sys/kernel/random/boot_id")
        inside.garage("admin", "backup", str(tmp_path / "garage.backup"))
        inside.env["GARAGE_DATABASE_URL"] = url
        inside.run(str(inside.home / "venv/bin/garage-server"), "migrate")
        inside.run(str(inside.home / "venv/bin/garage-server"), "restore", str(tmp_path / "garage.backup"))
        said = inside.make("up")
        assert [step for step in STEPS if f"ok  {step}" in said] == ["garage", "image", "services"]
        assert PASSWORD not in said
        del inside.env["GARAGE_DATABASE_URL"]
        assert "nothing changed" in inside.make("up")
        inside.wait_adoptable()
        assert "Nothing is done until" in inside.garage("admin", "adopt")
        inside.garage("admin", "adopt", "--yes")
        inside.wait_ready("first")
        assert inside.garage("ssh", "first", "--", "cat /proc/sys/kernel/random/boot_id") == boots
        assert cluster.connect("garage").execute("SELECT name, state FROM machine").fetchall() == [("first", "ready")]
        assert exposed(inside, PASSWORD) == []
        inside.make("down")
    finally:
        cluster.stop()


def exposed(inside: SetUpInside, secret: str) -> list[str]:
    """Command lines and files readable by others that hold it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [str(path)] if secret.encode() in path.read_bytes() else []
    for path in inside.home.rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.stat().st_size < 1 << 20
            and secret.encode() in path.read_bytes()
        ):
            found += [str(path)] if path.stat().st_mode & 0o77 else []
    return found


def test_purge_leaves_nothing(inside: SetUpInside) -> None:
    inside.make("purge")
    assert traces(inside) == NOTHING
    assert sorted(path.name for path in inside.base.iterdir()) == ["checkout", "libvirt", "root"]
    added = {path.name for path in inside.files() - inside.files_before}
    assert added == {NEW_MIGRATION_FILE}, "set-up writes nothing into a checkout"
