"""A stopped machine's disk as a file: asked for, made (played here), fetched by those whose it is, gone on with where a line broke."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from garage.core.states import Event
from garage.db.image_models import ImageTask
from garage.db.models import Audit, Machine
from garage.errors import GarageError
from garage.services import api_tokens, disk_copies, image_tasks, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.shell.disk_export import forget_others
from garage.worker import importing
from garage.worker.importing import Importer
from tests.conftest import Clock, member
from tests.inproc.served import Served, play, serving, tcp_server, wait_until
from tests.inproc.test_cli import Shell
from tests.inproc.test_image_tasks import WORKER, refused
from tests.inproc.test_machine_pages import browse
from web import catalogue

DATA = os.urandom(1 << 20)
AT = "/api/v1/machines/one.arms/disk"


@pytest.fixture
def one(ctx: Context, alice: Caller, bob: Caller) -> str:
    """Stopped, and its lease over; of a project of two."""
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny", project="arms"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    with ctx.db.write() as session:
        row = session.get_one(Machine, made.id)
        row.wants_running, row.lease_ended_at = False, ctx.clock()
    return made.id


@pytest.fixture
def served(ctx: Context) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def worked(ctx: Context, data: bytes = DATA) -> bool:
    """Play the worker; False where there is nothing to do."""
    task = image_tasks.claim(ctx, WORKER)
    if task is None:
        return False
    folder = ctx.config.home / disk_copies.FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{task.id}.qcow2").write_bytes(data)
    disk_copies.done(ctx, task, len(data), hashlib.sha256(data).hexdigest())
    return True


def staying(ctx: Context, most: int) -> set[str]:
    folder = ctx.config.home / disk_copies.FOLDER
    return disk_copies.keep(ctx, most, lambda task: (folder / f"{task}.qcow2").exists())


def test_its_people_fetch_it_whole_or_from_where_it_broke_off(
    ctx: Context, alice: Caller, bob: Caller, one: str, served: Served
) -> None:
    assert served.http.get(AT, headers=served.as_(alice)).json()["code"] == "wrong_state"
    disk_copies.ask(ctx, alice, one)
    assert disk_copies.ask(ctx, bob, "one.arms").state == "waiting", "the same"
    assert worked(ctx)
    assert not worked(ctx)
    assert disk_copies.ask(ctx, bob, one).state == "ready"
    whole = served.http.get(AT, headers=served.as_(bob))
    assert (whole.content, whole.headers["content-disposition"]) == (DATA, 'attachment; filename="one.qcow2"')
    assert "no-store" in whole.headers["cache-control"]
    rest = served.http.get(AT, headers=served.as_(alice) | {"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, DATA[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
    assert served.http.get(AT, headers=served.as_(alice) | {"Range": f"bytes={len(DATA)}-"}).status_code == 416
    for part in ("bytes=1-", "bytes=-9", "bytes=0-"):  # whoever leaves the first byte out has it, too
        served.http.get(AT, headers=served.as_(alice) | {"Range": part})
    with ctx.db.read() as session:
        told = session.query(Audit).filter(Audit.action.startswith("machine.disk")).order_by(Audit.id).all()
    assert [(entry.actor, entry.action) for entry in told] == [
        ("alice", "machine.disk_copy"),
        ("bob", "machine.disk_fetch"),
        ("alice", "machine.disk_fetch"),
    ]


def test_nobody_else_fetches_it(ctx: Context, admin: Caller, alice: Caller, one: str, served: Served) -> None:
    disk_copies.ask(ctx, alice, one)
    assert worked(ctx)
    carol = member(ctx, admin, "carol")
    assert served.http.get(AT, headers=served.as_(carol)).status_code == 404
    with refused("not_found"):
        disk_copies.ask(ctx, carol, one)
    reads = api_tokens.create(ctx, alice, "reads", scope="read")[1]
    assert served.http.get(AT, headers={"Authorization": f"Bearer {reads}"}).status_code == 403
    assert served.http.get(AT).status_code == 401
    assert [view.name for view in image_tasks.listing(ctx, admin)] == [], "it is no image"


def test_what_is_started_deleted_or_old_is_no_longer_there(ctx: Context, clock: Clock, alice: Caller, one: str) -> None:
    def there(state: str, *, kept: bool) -> None:
        assert disk_copies.get(ctx, alice, one).state == state
        forget_others(folder, lambda: staying(ctx, 1 << 40))
        assert bool(list(folder.iterdir())) is kept

    folder = ctx.config.home / disk_copies.FOLDER
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    there("ready", kept=True)
    clock.forward(disk_copies.KEPT_SECONDS)
    there("none", kept=False)
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    clock.forward(60)
    play(ctx, one, Event.START, Event.ANSWERED)
    with refused("wrong_state"):
        disk_copies.ask(ctx, alice, one)
    there("none", kept=False)
    play(ctx, one, Event.STOP, Event.OFF)
    assert disk_copies.get(ctx, alice, one).state == "none"
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    forget_others(folder, lambda: staying(ctx, len(DATA) - 1))
    assert list(folder.iterdir()) == [], "more than there may be together"
    machines.delete(ctx, alice, one)
    with refused("wrong_state"):
        disk_copies.ask(ctx, alice, one)


def test_why_it_could_not_be_made_is_told_and_it_can_be_asked_for_again(ctx: Context, alice: Caller, one: str) -> None:
    disk_copies.ask(ctx, alice, one)
    assert Importer(ctx, ctx.config).turn()
    found = disk_copies.get(ctx, alice, one)
    assert found.state == "failed"
    assert GarageError.from_dict(found.error or {}).message == "the machine's disk is not where it should be"
    assert disk_copies.ask(ctx, alice, one).state == "waiting"


def test_what_a_restored_backup_tells_of_is_made_again(ctx: Context, alice: Caller, one: str) -> None:
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    assert staying(ctx, 1 << 40)
    next((ctx.config.home / disk_copies.FOLDER).iterdir()).unlink()
    assert staying(ctx, 1 << 40) == set()
    assert disk_copies.ask(ctx, alice, one).state == "waiting"


def test_the_disk_is_another_after_a_return_to_a_snapshot(ctx: Context, clock: Clock, alice: Caller, one: str) -> None:
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    clock.forward(60)
    with ctx.db.write() as session:
        session.get_one(Machine, one).reverted_at = ctx.clock()
    assert disk_copies.get(ctx, alice, one).state == "none"


def test_a_machine_whose_row_is_gone_stops_nobodys_tidying(ctx: Context, alice: Caller, one: str) -> None:
    """Its node was taken out of the garage. What a killed worker left of a task that is not known any more goes, too."""
    disk_copies.ask(ctx, alice, one)
    with ctx.db.write() as session:
        session.execute(update(ImageTask).values(machine="gone"))
    left, building = ctx.config.home / "work" / "save-0123456789abcdef0123", ctx.config.home / "work" / "build"
    left.mkdir(parents=True)
    building.mkdir()
    at = [0.0]
    importer = Importer(ctx, ctx.config, lambda: at[0])
    at[0] += importing.TIDY
    importer.tidy()
    assert (left.exists(), building.exists()) == (False, True)
    assert importer.turn()
    at[0] += importing.TIDY
    with ctx.db.read() as session:
        error = session.scalars(select(ImageTask.error)).one()
    assert error is not None
    assert error["code"] == "not_found"
    importer.tidy()
    assert image_tasks.known(ctx) == set()


@contextmanager
def cutting(url: str, after: int) -> Iterator[tuple[str, list[bytes]]]:
    """A way to `url` on which the first answer that is longer than `after` bytes breaks off; and the requests that came."""
    asked: list[bytes] = []
    cut = threading.Event()

    def handle(near: socket.socket) -> None:
        target = urlsplit(url)
        with near, socket.create_connection((target.hostname, target.port)) as far:
            threading.Thread(target=_pump, args=(near, far, asked), daemon=True).start()
            sent = 0
            while data := far.recv(1 << 14):
                near.sendall(data)
                sent += len(data)
                if sent > after and not cut.is_set():
                    cut.set()
                    near.shutdown(socket.SHUT_RDWR)  # closing alone says nothing while the other thread reads
                    return

    with tcp_server(handle) as port:
        yield f"http://127.0.0.1:{port}", asked


def _pump(near: socket.socket, far: socket.socket, asked: list[bytes]) -> None:
    try:
        while data := near.recv(1 << 14):
            asked.append(data)
            far.sendall(data)
    except OSError:
        return


def test_the_command_goes_on_where_the_line_broke(
    ctx: Context, alice: Caller, one: str, served: Served, tmp_path: Path
) -> None:
    with cutting(served.url, 1 << 18) as (url, asked):
        shell = Shell(tmp_path, GARAGE_URL=url, GARAGE_TOKEN=served.token(alice))
        worker = threading.Thread(target=lambda: wait_until(lambda: worked(ctx), 30))
        worker.start()
        file = tmp_path / "one.qcow2"
        done = shell("machine", "download-disk", "one.arms", str(file), "-o", "json")
        worker.join()
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sha256"] == hashlib.sha256(DATA).hexdigest()
        assert file.read_bytes() == DATA
        assert [line for data in asked for line in data.split(b"\r\n") if line.lower().startswith(b"range: bytes=")]
    assert list(tmp_path.glob(".*.part")) == []
    assert shell("machine", "download-disk", "one.arms", str(file)).returncode == 10
    assert file.stat().st_mode & 0o077 == 0, "what is on a machine's disk is nobody else's"


def test_what_an_earlier_call_left_and_what_is_not_the_file(
    ctx: Context, alice: Caller, one: str, served: Served, tmp_path: Path
) -> None:
    disk_copies.ask(ctx, alice, one)
    worked(ctx)
    shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))
    file, part = tmp_path / "f", tmp_path / f".f.{hashlib.sha256(DATA).hexdigest()[:12]}.part"
    part.write_bytes(b"something else")
    assert shell("machine", "download-disk", "one.arms", str(file)).returncode == 30
    assert not file.exists()
    assert not part.exists()
    part.write_bytes(DATA[:-5])
    assert "1 MiB" in shell("machine", "download-disk", "one.arms", str(file)).stdout
    assert file.read_bytes() == DATA


def test_on_the_machines_page(ctx: Context, alice: Caller, one: str) -> None:
    catalogue.compile_all()
    page = browse(ctx, alice)
    assert "Make a copy" in page.get(f"/machines/{one}").text
    assert page.post(f"/machines/{one}/disk-copy").location == f"/machines/{one}"
    assert "A copy is being made" in page.get(f"/machines/{one}").text
    worked(ctx)
    shown = page.get(f"/machines/{one}").text
    assert f'href="/api/v1/machines/{one}/disk"' in shown
    assert hashlib.sha256(DATA).hexdigest() in shown
    play(ctx, one, Event.START, Event.ANSWERED)
    assert "Take its disk along" not in page.get(f"/machines/{one}").text
    assert page.post(f"/machines/{one}/disk-copy").status_code == httpx.codes.CONFLICT
