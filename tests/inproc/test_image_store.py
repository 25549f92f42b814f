"""Building an image in trouble, and the store: whole images or none. No mirror is needed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from garage.core.mirror import Mirror
from garage.core.recipe import Recipe
from garage.errors import GarageError
from garage.shell import images
from garage.shell.rootfs import disk_full

RECIPE = Recipe(name="small", title="Small", suite="bookworm", packages=("dash",), sources="")
NOWHERE = Mirror("http://127.0.0.1:9/debian")
"""Port 9 (discard): nobody listens."""


def quiet(_step: str, _share: float) -> None: ...


@pytest.fixture
def stored(tmp_path: Path) -> images.Manifest:
    """A made-up image in STORE, as a build would leave it."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("disk.qcow2", "vmlinuz", "initrd.img"):
        (out / name).write_text(name)
    manifest = images._manifest(RECIPE, "6.1", out, "")
    (out / "manifest.json").write_text(json.dumps(manifest.as_dict()))
    images.keep(out, tmp_path / "store", manifest)
    return manifest


def test_an_image_that_stands_is_not_built_again(tmp_path: Path, stored: images.Manifest) -> None:
    again = images.build(RECIPE, store=tmp_path / "store", mirror=NOWHERE, work=tmp_path / "work", progress=quiet)
    assert again == stored
    assert images.load(tmp_path / "store" / stored.sha256) == stored
    images.verify(tmp_path / "store", stored.sha256)


def test_a_stored_image_is_readable_by_all_and_writable_by_nobody(tmp_path: Path, stored: images.Manifest) -> None:
    folder = tmp_path / "store" / stored.sha256
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    assert [path.name for path in (tmp_path / "store").iterdir()] == [stored.sha256]


def test_another_recipe_or_another_builder_means_another_image(
    tmp_path: Path, stored: images.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert images.find(tmp_path / "store", images.image_hash(dataclasses.replace(RECIPE, cmdline="quiet"))) is None
    for name in ("BUILDER", "INIT"):
        with monkeypatch.context() as changed:
            changed.setattr(images, name, "another")
            assert images.find(tmp_path / "store", images.image_hash(RECIPE)) is None


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(path.read_text()[:20])


@pytest.mark.parametrize("name", images.FILES)
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_damaged_image_is_told(
    tmp_path: Path, stored: images.Manifest, name: str, damage: Callable[[Path], None]
) -> None:
    """A missing file or a broken manifest: it is built again; changed content: `verify` finds it."""
    folder = tmp_path / "store" / stored.sha256
    if damage is cut and name != "manifest.json":
        (folder / name).chmod(0o644)
        (folder / name).write_text("something else")
        with pytest.raises(GarageError, match="damaged"):
            images.verify(tmp_path / "store", stored.sha256)
    else:
        damage(folder / name)
        assert images.find(tmp_path / "store", images.image_hash(RECIPE)) is None


def test_programs_of_a_killed_build_are_ended_before_its_folder_goes(tmp_path: Path) -> None:
    """mmdebstrap outlives a builder that was killed, and would go on writing below a folder that is being removed."""
    place = tmp_path / "build"
    place.mkdir()
    busy = 'while :; do mkdir -p "$0/deep/er"; : >"$0/deep/er/$$"; done'
    with subprocess.Popen(["sh", "-c", busy, f"{place}/root"], start_new_session=True) as left:
        with images._workplace(tmp_path, RECIPE) as clean:
            assert clean == place
            assert list(clean.iterdir()) == []
        left.wait(5)
    assert not place.exists()


def test_a_mirror_that_does_not_answer_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mmdebstrap needs root")
    with pytest.raises(GarageError) as caught:
        images.build(RECIPE, store=tmp_path / "store", mirror=NOWHERE, work=tmp_path / "work", progress=quiet)
    assert caught.value.code == "mirror_unreachable"
    assert caught.value.params["mirror"] == NOWHERE.url
    assert not (tmp_path / "store").exists()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["build.lock"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(small_disk: Path) -> None:
    with pytest.raises(GarageError) as caught:
        images.build(RECIPE, store=small_disk / "s", mirror=NOWHERE, work=small_disk / "w", progress=quiet)
    assert caught.value.code == "disk_full"
    assert caught.value.params["needed"] > caught.value.params["free"]
    assert [path.name for path in small_disk.rglob("*")] == ["w", "build.lock"]


def test_a_disk_that_fills_up_meanwhile_is_told_and_left_clean(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may write too: really full, in the middle of making the disk."""
    monkeypatch.setattr(images, "needed_gib", lambda _recipe: 0)
    root = tmp_path / "root"
    root.mkdir()
    (root / "big").write_bytes(os.urandom(64 << 20))
    with pytest.raises(GarageError) as caught, images._workplace(small_disk / "w", RECIPE) as place:
        images._disk(RECIPE, root, place, place)
    assert caught.value.code == "disk_full"
    assert [path.name for path in small_disk.rglob("*")] == ["w", "build.lock"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (GarageError("tool_failed", "E: You don't have enough free space in /var/cache/apt/archives/."), "disk_full"),
        (GarageError("tool_failed", "tar: write error: No space left on device"), "disk_full"),
        (disk_full(Path("/"), RECIPE), "disk_full"),
        (GarageError("timeout", "too long"), "timeout"),
    ],
)
def test_a_full_disk_is_known_by_what_programs_say(error: OSError | GarageError, code: str) -> None:
    told = images._told(error, Path("/"), RECIPE)
    assert isinstance(told, GarageError)
    assert told.code == code
