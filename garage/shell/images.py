"""Building images and keeping them by the sha256 of their disk: `STORE/SHA256/{disk.qcow2,vmlinuz,initrd.img,manifest.json}`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from garage.core.mirror import Mirror
from garage.core.recipe import Recipe
from garage.errors import N_, GarageError
from garage.shell.initrd import make_initrd
from garage.shell.rootfs import disk_full, make_rootfs, needed_gib
from garage.shell.run import run

FILES = ("disk.qcow2", "vmlinuz", "initrd.img", "manifest.json")
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is. Hashes are sha256, sizes bytes, times UTC seconds since 1970."""

    name: str
    title: str
    suite: str
    recipe: str
    """Hash of the recipe it was built from."""
    sha256: str
    """Of disk.qcow2."""
    kernel_sha256: str
    initrd_sha256: str
    kernel_release: str
    cmdline: str
    virtual_bytes: int
    built_at: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def build(recipe: Recipe, *, store: Path, mirror: Mirror, work: Path, progress: Progress) -> Manifest:
    """The image of `recipe`, built unless it stands already. Interrupted anywhere, the next call begins anew and leaves nothing behind."""
    if found := find(store, recipe.hash):
        progress("stands already", 1.0)
        return found
    with _workplace(work, recipe) as place:
        progress("packages", 0.05)
        root = make_rootfs(recipe, mirror, place)
        progress("disk", 0.75)
        out = place / "image"
        out.mkdir(mode=0o755)
        release = _kernel(recipe, root, place, out)
        _disk(recipe, root, place, out)
        progress("checksums", 0.95)
        manifest = _manifest(recipe, release, out)
        (out / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1))
        _keep(out, store, manifest)
    progress("done", 1.0)
    return manifest


def find(store: Path, recipe_hash: str) -> Manifest | None:
    """A complete stored image of this recipe."""
    for path in sorted(store.glob("*/manifest.json")):
        manifest = load(path.parent)
        if manifest.recipe == recipe_hash and all((path.parent / name).exists() for name in FILES):
            return manifest
    return None


def load(folder: Path) -> Manifest:
    """The manifest of the stored image in `folder`."""
    return Manifest(**json.loads((folder / "manifest.json").read_text()))


def verify(store: Path, sha256: str) -> None:
    """Raises `image_build_failed` when a stored file is not what its manifest says."""
    folder = store / sha256
    manifest = load(folder)
    wanted = {"disk.qcow2": manifest.sha256, "vmlinuz": manifest.kernel_sha256, "initrd.img": manifest.initrd_sha256}
    for name, digest in wanted.items():
        if _sha256(folder / name) != digest:
            hint = N_("build it again: make up")
            raise GarageError(
                "image_build_failed", N_("{file} of image {name} is damaged"), hint=hint, file=name, name=manifest.name
            )


@contextmanager
def _workplace(work: Path, recipe: Recipe) -> Iterator[Path]:
    """A folder of this process; those of dead ones are removed first. A full disk is told as such, whoever met it."""
    work.mkdir(parents=True, exist_ok=True)
    for old in work.glob("build-*"):
        if not Path(f"/proc/{old.name.removeprefix('build-')}").exists():
            shutil.rmtree(old)
    place = work / f"build-{os.getpid()}"
    try:
        if shutil.disk_usage(work).free < needed_gib(recipe) * (1 << 30):
            raise disk_full(work, recipe)
        place.mkdir(mode=0o755)
        yield place
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(work, recipe) from None
        raise
    except GarageError as error:
        if "No space left" in error.message:
            raise disk_full(work, recipe) from None
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _kernel(recipe: Recipe, root: Path, place: Path, out: Path) -> str:
    """Copy kernel and initrd out of the tree; the kernel's release."""
    release = sorted(path.name for path in (root / "lib/modules").iterdir())[-1]
    shutil.copy(root / f"boot/vmlinuz-{release}", out / "vmlinuz")
    if recipe.initrd == "garage":
        make_initrd(root, release, recipe.modules, place, out / "initrd.img")
    else:
        shutil.copy(root / f"boot/initrd.img-{release}", out / "initrd.img")
    return release


def _disk(recipe: Recipe, root: Path, place: Path, out: Path) -> None:
    """mke2fs fills the file system from the tree: no loop device, no mount."""
    raw = place / "disk.raw"
    options = ["-E", "lazy_itable_init=1,discard", "-m", "1", "-L", "root", "-d", str(root)]
    run(["mke2fs", "-q", "-t", "ext4", *options, str(raw), f"{recipe.disk_gib}G"], timeout=600)
    shutil.rmtree(root)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(out / "disk.qcow2")], timeout=600)
    raw.unlink()


def _manifest(recipe: Recipe, release: str, out: Path) -> Manifest:
    return Manifest(
        name=recipe.name,
        title=recipe.title,
        suite=recipe.suite,
        recipe=recipe.hash,
        sha256=_sha256(out / "disk.qcow2"),
        kernel_sha256=_sha256(out / "vmlinuz"),
        initrd_sha256=_sha256(out / "initrd.img"),
        kernel_release=release,
        cmdline=recipe.kernel_command_line,
        virtual_bytes=recipe.disk_gib << 30,
        built_at=time.time(),
    )


def _keep(out: Path, store: Path, manifest: Manifest) -> None:
    """Readable by QEMU's user, writable by nobody, in place by one rename."""
    store.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        path.chmod(0o444)
    target = store / manifest.sha256
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(out, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
