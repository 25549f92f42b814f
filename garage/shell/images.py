"""Building images and keeping them by the sha256 of their disk: `STORE/SHA256/{disk.qcow2,vmlinuz,initrd.img,manifest.json}`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from garage.core.cloud_schema import MAX_BYTES, trimmed
from garage.core.mirror import Mirror
from garage.core.recipe import Recipe
from garage.errors import N_, GarageError
from garage.shell.disk_files import sync
from garage.shell.initrd import INIT, make_initrd
from garage.shell.rootfs import FULL, disk_full, installed, make_rootfs, needed_gib
from garage.shell.run import run

FILES = ("disk.qcow2", "vmlinuz", "initrd.img", "manifest.json")
BUILDER = 4
"""Raise it when this code makes other images than before of the same recipes, so that they are built again."""
SCHEMA = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
"""In a tree with Debian's cloud-init."""
KEPT_SCHEMA = "cloud-config.json"
END_SECONDS = 10.0
"""How long programs of a killed build may take to end."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is. Hashes are sha256, sizes bytes, times UTC seconds since 1970."""

    name: str
    title: str
    suite: str
    recipe: str
    """`image_hash` of the recipe it was built from."""
    sha256: str
    """Of disk.qcow2."""
    kernel_sha256: str
    initrd_sha256: str
    kernel_release: str
    cmdline: str
    virtual_bytes: int
    built_at: float
    initrd: str = "garage"
    """Of the recipe: with "garage" a machine takes its identity from us, also after it has booted; "own" boots by its own loader."""
    boot: str = "kernel"
    """ "kernel": directly; "bios" or "uefi": by the loader on its disk."""
    bytes: int = 0
    """Of disk.qcow2; 0: not known."""
    source_sha256: str = ""
    """Of the file that was imported, as it came."""
    user_data_schema: str = ""
    """Of KEPT_SCHEMA, what its cloud-init takes; empty where that is not known."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def build(recipe: Recipe, *, store: Path, mirror: Mirror, work: Path, progress: Progress) -> Manifest:
    """The image of `recipe`, built unless it stands already. Interrupted anywhere, the next call begins anew and leaves nothing behind."""
    wanted = image_hash(recipe)
    if found := find(store, wanted):
        progress("stands already", 1.0)
        return found
    with _workplace(work, recipe) as place:
        if found := find(store, wanted):  # another process built it while this one waited for the work folder
            return found
        progress("packages", 0.05)
        root = make_rootfs(recipe, mirror, place)
        progress("disk", 0.75)
        out = place / "image"
        out.mkdir(mode=0o755)
        (out / "packages.txt").write_text(installed(root))
        release, schema = _kernel(recipe, root, place, out), _schema(root, out)
        _disk(recipe, root, place, out)
        progress("checksums", 0.95)
        manifest = _manifest(recipe, release, out, schema)
        (out / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1))
        keep(out, store, manifest)
    progress("done", 1.0)
    return manifest


def image_hash(recipe: Recipe) -> str:
    """Changes with anything that changes the image: the recipe, and what this builder adds to it."""
    ours = INIT if recipe.initrd == "garage" else ""
    return hashlib.sha256(f"{BUILDER} {recipe.hash} {ours}".encode()).hexdigest()


def find(store: Path, wanted: str) -> Manifest | None:
    """The complete stored image with this `image_hash`."""
    for path in sorted(store.glob("*/manifest.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):  # damaged: it is as if it were not there
            manifest = load(path.parent)
            complete = all((path.parent / name).exists() for name in FILES)
            if manifest.recipe == wanted and manifest.sha256 == path.parent.name and complete:
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
        if digest and sha256_of(folder / name) != digest:
            hint = N_("build it again: make up")
            raise GarageError(
                "image_build_failed", N_("{file} of image {name} is damaged"), hint=hint, file=name, name=manifest.name
            )


@contextmanager
def _workplace(work: Path, recipe: Recipe) -> Iterator[Path]:
    """A folder for one build at a time; what a killed one left is removed. A full disk is told as such, whoever met it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when its process dies, however that happens
        place = work / "build"
        _remove(place)
        try:
            if shutil.disk_usage(work).free < needed_gib(recipe) * (1 << 30):
                raise disk_full(work, recipe)
            place.mkdir(mode=0o755)
            yield place
        except (OSError, GarageError) as error:
            raise _told(error, work, recipe) from None
        finally:
            _remove(place)


def _told(error: OSError | GarageError, work: Path, recipe: Recipe) -> Exception:
    """`error`, or "disk full" where that is what it says."""
    if isinstance(error, OSError):
        full = error.errno == errno.ENOSPC
    else:
        full = error.code == "disk_full" or any(sign in error.message for sign in FULL)
    return disk_full(work, recipe) if full else error


def _remove(place: Path) -> None:
    """Remove the folder, after ending programs that work in it: those of a killed builder go on without it.

    They are looked for until a whole look finds none, since one that is about to be ended may have started another.
    """
    deadline = time.monotonic() + END_SECONDS
    while (pids := _programs(place)) or place.exists():
        if time.monotonic() > deadline:
            return shutil.rmtree(place)  # as far as it goes; what is in its way is told
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            with contextlib.suppress(OSError):
                shutil.rmtree(place)
        time.sleep(0.02)


def _programs(place: Path) -> list[int]:
    """Processes on whose command line a path below `place` stands, as on those of all that a build starts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{place}/".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _kernel(recipe: Recipe, root: Path, place: Path, out: Path) -> str:
    """Copy kernel and initrd out of the tree; the kernel's release."""
    release = sorted(path.name for path in (root / "lib/modules").iterdir())[-1]
    shutil.copy(root / f"boot/vmlinuz-{release}", out / "vmlinuz")
    if recipe.initrd == "garage":
        make_initrd(root, release, recipe.modules, place, out / "initrd.img")
    else:
        shutil.copy(root / f"boot/initrd.img-{release}", out / "initrd.img")
    return release


def _schema(root: Path, out: Path) -> str:
    """Copy what cloud-init says of user-data out of the tree; its sha256, or nothing where there is none to be used."""
    source = root / SCHEMA
    if source.is_symlink() or not source.is_file() or source.stat().st_size > MAX_BYTES:
        return ""
    if not (text := trimmed(source.read_text())):
        return ""
    (out / KEPT_SCHEMA).write_text(text)
    return sha256_of(out / KEPT_SCHEMA)


def user_data_schema(store: Path, sha256: str) -> str:
    """The schema that was kept with a stored image; empty without one."""
    path = store / sha256 / KEPT_SCHEMA
    return path.read_text() if path.is_file() else ""


def _disk(recipe: Recipe, root: Path, place: Path, out: Path) -> None:
    """mke2fs fills the file system from the tree: no loop device, no mount."""
    raw = place / "disk.raw"
    options = ["-E", "lazy_itable_init=1,discard", "-m", "1", "-L", "root", "-d", str(root)]
    run(["mke2fs", "-q", "-t", "ext4", *options, str(raw), f"{recipe.disk_gib}G"], timeout=600)
    shutil.rmtree(root)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(out / "disk.qcow2")], timeout=600)
    raw.unlink()


def _manifest(recipe: Recipe, release: str, out: Path, schema: str) -> Manifest:
    return Manifest(
        name=recipe.name,
        title=recipe.title,
        suite=recipe.suite,
        recipe=image_hash(recipe),
        sha256=sha256_of(out / "disk.qcow2"),
        kernel_sha256=sha256_of(out / "vmlinuz"),
        initrd_sha256=sha256_of(out / "initrd.img"),
        kernel_release=release,
        cmdline=recipe.kernel_command_line,
        virtual_bytes=recipe.disk_gib << 30,
        built_at=time.time(),
        initrd=recipe.initrd,
        bytes=(out / "disk.qcow2").stat().st_size,
        user_data_schema=schema,
    )


def keep(out: Path, store: Path, manifest: Manifest) -> None:
    """Readable by QEMU's user, writable by nobody, in place by one rename, and on the disk before that: servers lose power."""
    store.mkdir(parents=True, exist_ok=True)
    draft = store / f".{manifest.sha256}"
    for path in (draft, store / manifest.sha256):
        shutil.rmtree(path, ignore_errors=True)
    shutil.move(out, draft)
    for path in draft.iterdir():
        path.chmod(0o444)
        sync(path)
    sync(draft)
    draft.rename(store / manifest.sha256)
    sync(store)


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
