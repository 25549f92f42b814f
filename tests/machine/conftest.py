"""The image that machine tests boot: built once per recipe and kept in GARAGE_TEST_CACHE."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from garage.core.recipe import parse_recipe
from garage.shell.images import FILES, Manifest, build
from garage.shell.mirrors import server_mirror

CACHE = Path(os.environ.get("GARAGE_TEST_CACHE", "/var/cache/garage-test"))
IMAGES = Path(__file__).parents[2] / "images"


@pytest.fixture(scope="session")
def image_store() -> tuple[Path, Manifest]:
    """(store, manifest) of the default image."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap") or not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs root, mmdebstrap and QEMU")
    recipe = parse_recipe((IMAGES / "debian-12.toml").read_text())
    with alone():
        manifest = build(
            recipe,
            store=CACHE / "images",
            mirror=server_mirror(os.environ),
            work=CACHE / "work",
            progress=lambda *_: None,
        )
    return CACHE / "images", manifest


@pytest.fixture(scope="session")
def image_files(image_store: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is in the image's disk: /etc and the list of all paths, taken out without a mount or a boot."""
    store, manifest = image_store
    folder = tmp_path_factory.mktemp("image")
    raw = folder / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(store / manifest.sha256 / FILES[0]), str(raw)], check=True)
    subprocess.run(["debugfs", "-R", f"rdump /etc {folder}", str(raw)], check=True, capture_output=True)
    raw.unlink()
    return folder


@contextmanager
def alone() -> Iterator[None]:
    """Test runs at the same time build once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
