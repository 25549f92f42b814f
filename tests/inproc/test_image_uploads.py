"""An image's file on its way to the controller: streamed, bounded, gone on with; and `garage image`, the worker's part too."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from garage.client.commands import image as commands
from garage.core.recipe import parse_recipe
from garage.services import image_tasks, image_views, images
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage
from garage.shell.images import Manifest
from garage.worker import importing
from garage.worker.importing import Importer
from tests.conftest import Clock
from tests.inproc.served import Served, serving, wait_until
from tests.inproc.test_cli import Shell

FILE = os.urandom(3_000_000)
HEX = hashlib.sha256(FILE).hexdigest()
KIND = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def served(ctx: Context, admin: Caller, alice: Caller) -> Iterator[Served]:
    with serving(replace(ctx, config=replace(ctx.config, disk_reserve_mib=0))) as made:
        yield made


@pytest.fixture
def task(ctx: Context, alice: Caller) -> str:
    return image_tasks.bring(ctx, alice, NewImage("mine", HEX, bytes=len(FILE))).id


def put(served: Served, who: Caller, task: str, data: bytes, offset: int = 0) -> Any:
    headers = KIND | {"Authorization": f"Bearer {served.token(who)}"}
    return served.http.put(f"/api/v1/image-tasks/{task}/file?offset={offset}", content=data, headers=headers)


def test_a_file_comes_in_pieces(served: Served, ctx: Context, alice: Caller, task: str) -> None:
    path = ctx.config.home / "uploads" / task
    assert put(served, alice, task, FILE[:1000]).json() == {"done": 1000, "total": len(FILE)}
    assert put(served, alice, task, FILE, 5).json()["code"] == "wrong_state"
    assert "1000" in put(served, alice, task, FILE, 5).json()["hint"]
    assert put(served, alice, task, FILE[1000:] + b"x", 1000).status_code == 413
    assert path.stat().st_size < len(FILE)
    done = image_tasks.get(ctx, alice, task).done
    assert done == path.stat().st_size
    assert put(served, alice, task, FILE[done:], done).json()["done"] == len(FILE)
    assert path.read_bytes() == FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert image_tasks.get(ctx, alice, task).state == "waiting"
    assert put(served, alice, task, b"", len(FILE)).json()["code"] == "wrong_state"


def test_what_has_come_stays_when_the_line_breaks(served: Served, ctx: Context, alice: Caller, task: str) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        f"PUT /api/v1/image-tasks/{task}/file HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token(alice)}\r\n"
        f"Content-Length: {len(FILE)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + FILE[:2_000_000])
        path = ctx.config.home / "uploads" / task
        wait_until(lambda: path.exists() and path.stat().st_size > 0, 60)
    wait_until(lambda: image_tasks.get(ctx, alice, task).done > 0, 60)
    wait_until(
        lambda: (
            put(served, alice, task, FILE[(done := image_tasks.get(ctx, alice, task).done) :], done).status_code == 200
        ),
        20,
    )
    assert (ctx.config.home / "uploads" / task).read_bytes() == FILE


def test_nobody_elses_and_nothing_unknown(served: Served, ctx: Context, alice: Caller, bob: Caller, task: str) -> None:
    assert put(served, bob, task, FILE).status_code == 404
    assert served.http.put(f"/api/v1/image-tasks/{task}/file", content=FILE).status_code == 401
    assert put(served, alice, "f" * 20, FILE).status_code == 404
    assert (
        served.http.put(
            f"/api/v1/image-tasks/{task}/file?offset=-1", headers={"Authorization": f"Bearer {served.token(alice)}"}
        ).json()["errors"][0]["pointer"]
        == "/offset"
    )
    (ctx.config.home / "uploads").mkdir(exist_ok=True)
    (ctx.config.home / "uploads" / task).symlink_to("/etc/passwd")
    assert put(served, alice, task, FILE).status_code >= 400


def test_a_full_disk_takes_no_file(served: Served, ctx: Context, alice: Caller, task: str) -> None:
    full = replace(ctx, config=replace(ctx.config, disk_reserve_mib=1 << 40))
    with serving(full) as other:
        assert put(other, alice, task, FILE).json()["code"] == "disk_full"


# --- from end to end ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(served: Served, alice: Caller, tmp_path: Path) -> Shell:
    home = tmp_path / "alice"
    home.mkdir()
    (home / "disk.raw").write_bytes(FILE)
    return Shell(home, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))


def made(wanted: Any, **_: Any) -> Manifest:
    """What the shell makes of it, without tools."""
    nothing = {"suite": "", "recipe": "", "kernel_sha256": "", "initrd_sha256": "", "kernel_release": "", "cmdline": ""}
    return Manifest(
        wanted.name,
        wanted.name,
        sha256="78" * 32,
        virtual_bytes=1 << 30,
        built_at=0.0,
        boot=wanted.boot,
        initrd="own",
        **nothing,
    )


def importer(ctx: Context) -> Importer:
    return Importer(ctx, ctx.config)


def test_a_file_becomes_an_image(shell: Shell, ctx: Context, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(shell.home / "disk.raw")
    done = shell("image", "import", "mine", path, "--sha256", HEX, "--no-wait")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("mine is on its way: garage image tasks\n", "uploading\n")
    [task] = shell.json("image", "tasks")["items"]  # type: ignore[index]
    assert (task["state"], task["format"], task["boot"]) == ("waiting", "raw", "bios")
    upload = ctx.config.home / "uploads" / task["id"]
    assert upload.read_bytes() == FILE
    monkeypatch.setattr(importing, "make_image", made)
    assert importer(ctx).turn()
    assert not upload.exists()
    assert not importer(ctx).turn()
    listed = shell("image", "list").stdout
    assert "mine" in listed
    assert "oneself" in listed
    assert "本人だけ" in shell("image", "list", LC_ALL="ja_JP.UTF-8").stdout
    assert shell("image", "share", "mine", "--for", "all").stdout == "mine: all\n"
    assert shell("image", "delete", "debian-12", "--yes").returncode == 5
    assert shell("image", "delete", "mine").returncode == 2, "nobody is there to answer"
    assert shell("image", "delete", "mine", "--yes").returncode == 0
    assert [image.name for image in image_views.page(ctx, alice).items] == ["debian-12"]
    assert shell("image", "delete", "mine", "--yes").returncode == 3


def test_a_failure_is_told_with_its_exit_code(shell: Shell, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-m", "garage.cli", "image", "import", "mine", "https://203.0.113.9/disk.qcow2", "--sha256", HEX],
        env=shell.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    work = importer(ctx)
    wait_until(work.turn, 30)  # the address is a special one: refused before anything is sent
    said = waiting.communicate(timeout=40)[1]
    assert waiting.returncode == 5
    assert "203.0.113.9 is out of reach" in said
    assert shell("image", "tasks").stdout.count("203.0.113.9") == 1
    assert shell("image", "cancel", "mine").returncode == 0
    assert shell.json("image", "tasks") == {"items": []}


def test_only_an_admin_builds(
    shell: Shell, served: Served, ctx: Context, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shell.home / "small.toml"
    recipe.write_text('name = "small"\ntitle = "Small"\nsuite = "bookworm"\npackages = ["dash"]\nsources = ""\n')
    assert shell("image", "build", str(recipe), "--no-wait").returncode == 5
    done = shell("image", "build", str(recipe), "--no-wait", GARAGE_TOKEN=served.token(admin))
    assert done.returncode == 0, done.stderr
    for unknown, said in (("none-such", "no recipe none-such ships"), ("none.toml", "none.toml cannot be read")):
        refused = shell("image", "build", unknown, GARAGE_TOKEN=served.token(admin))
        assert (refused.returncode, said in refused.stderr) == (3, True), refused.stderr
    assert shell.json("image", "recipes") == {"items": []}, "none ship with the tests' garage"
    asked: list[str] = []

    def build(recipe: Any, **more: Any) -> Manifest:
        asked.append(recipe.name)
        more["progress"]("packages", 0.5)
        assert image_tasks.get(ctx, admin, "small").done == 500
        return made(order(recipe.name))

    monkeypatch.setattr(importing, "build", build)
    assert importer(ctx).turn()
    assert asked == [parse_recipe(recipe.read_text()).name]
    [image] = [image for image in image_views.page(ctx, admin).items if image.name == "small"]
    assert (image.owner, image.visibility, image.current) == ("", "all", True)


def order(name: str) -> Any:
    return importing.Order("0" * 20, name, "", "", "qcow2", "kernel")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("a.qcow2", "qcow2"),
        ("https://x/a.raw.xz?raw", "raw"),
        ("a.img", "qcow2"),
        ("raw/a.img", "qcow2"),
        ("A.RAW", "raw"),
    ],
)
def test_the_format_follows_the_name(source: str, kind: str) -> None:
    assert commands._format(source) == kind


# --- what lies there ---------------------------------------------------------------------------------------------------


def stored(ctx: Context, sha256: str, text: str = "disk") -> Path:
    folder = ctx.config.home / "images" / sha256
    folder.mkdir(parents=True)
    (folder / "disk.qcow2").write_text(text)
    digest = hashlib.sha256(b"disk").hexdigest()
    manifest = {**made(order("x")).as_dict(), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_stored_images_are_looked_at_every_week(ctx: Context, clock: Clock, alice: Caller) -> None:
    folder, time = stored(ctx, "ab" * 32), [0.0]
    work = Importer(ctx, ctx.config, lambda: time[0])

    def tidy() -> images.ImageView:
        time[0] += 2 * importing.TIDY
        work.tidy()
        return images.get(ctx, alice, "debian-12")

    first = tidy().verified_at
    clock.forward(images.OLD + 1)
    assert tidy().verified_at == clock.now != first
    assert not tidy().damaged
    (folder / "disk.qcow2").write_text("dusk")
    clock.forward(images.OLD + 1)
    assert tidy().damaged
    (folder / "disk.qcow2").write_text("disk")
    clock.forward(images.OLD + 1)
    assert not tidy().damaged
    (folder / "manifest.json").write_text("{")
    clock.forward(images.OLD + 1)
    assert tidy().damaged


def test_files_that_nobody_knows_go(ctx: Context, admin: Caller, alice: Caller) -> None:
    keep, time = image_tasks.bring(ctx, alice, NewImage("mine", HEX, bytes=9)).id, [0.0]
    uploads = ctx.config.home / "uploads"
    uploads.mkdir()
    (uploads / keep).touch()
    (uploads / ("e" * 20)).touch()
    folder = stored(ctx, "ab" * 32)
    other = stored(ctx, "cd" * 32)
    work = Importer(ctx, ctx.config, lambda: time[0])
    images.delete(ctx, admin, "debian-12")
    time[0] += 2 * importing.TIDY
    work.tidy()
    assert [path.name for path in uploads.iterdir()] == [keep]
    assert not folder.exists()
    assert other.exists()
