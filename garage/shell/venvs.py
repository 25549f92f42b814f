"""Python environments in an image: wheels are fetched on the server, by its own pip configuration; in the tree pip is offline."""

from __future__ import annotations

import shutil
from pathlib import Path

from garage.core.recipe import Recipe
from garage.core.seed import LOGIN
from garage.core.venvs import download_argv
from garage.errors import N_, GarageError
from garage.shell.run import run

FETCH_SECONDS = 1800.0
INSTALL_SECONDS = 900.0
PYTHON = "/usr/bin/python3"
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
INSIDE = "/tmp/garage-wheels"  # noqa: S108  (of the tree, in which nobody else works)


def make_venvs(recipe: Recipe, root: Path, work: Path) -> None:
    """Those of the recipe, in the tree `root`; they are the login user's, who may install more."""
    if not recipe.venvs:
        return
    pip = work / "pip"
    run([PYTHON, "-m", "venv", str(pip)], timeout=INSTALL_SECONDS)  # the worker's own environment has no pip
    for path, requirements in recipe.venvs.items():
        wheels = root / INSIDE.lstrip("/")
        wheels.mkdir()
        (wheels / "requirements.txt").write_text(requirements)
        _fetch(recipe, [str(pip / "bin" / "python"), "-m", "pip"], wheels)
        _install(root, path)
        shutil.rmtree(wheels)
    shutil.rmtree(pip)


def _fetch(recipe: Recipe, pip: list[str], wheels: Path) -> None:
    argv = download_argv(pip, recipe.suite, recipe.architecture, str(wheels / "requirements.txt"), str(wheels))
    done = run(argv, timeout=FETCH_SECONDS, check=False, env=QUIET)
    if done.returncode:
        raise GarageError(
            "image_build_failed",
            N_("the Python packages of {name} cannot be had: {reason}"),
            hint=N_("is a Python package index reachable? /etc/pip.conf of this server names it"),
            name=recipe.name,
            reason=done.stderr[-400:],
        )


def _install(root: Path, path: str) -> None:
    """By the tree's own Python, which its packages bring (python3-venv)."""
    chroot = ["chroot", str(root)]
    run([*chroot, PYTHON, "-m", "venv", path], timeout=INSTALL_SECONDS, env={"HOME": "/root", "TMPDIR": "/tmp"})  # noqa: S108
    words = (
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--require-hashes",
        "--no-cache-dir",
        "--find-links",
        INSIDE,
    )
    pip = [*chroot, f"{path}/bin/python", "-m", "pip", "--isolated"]
    run([*pip, *words, "--requirement", f"{INSIDE}/requirements.txt"], timeout=INSTALL_SECONDS, env=QUIET)
    run([*chroot, "chown", "-R", f"{LOGIN}:{LOGIN}", path], timeout=60)
