"""`make lock`: the pinned requirements from pyproject.toml, for every Python and platform at once, with hashes and no index."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

from garage_setup import pages
from garage_setup.command import Runner
from garage_setup.files import remove_tree
from garage_setup.place import CHECKOUT
from garage_setup.problem import SetupError
from garage_setup.pythons import PIP_HINT

PYTHON = "3.11"
"""The oldest one; the result is valid for all newer ones too."""
COMPILE = (
    *("pip", "compile", "--no-config", "--universal", "--python-version", PYTHON, "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header", "--no-emit-package", "garage"),
    "--quiet",
)
HEADER = "# Made by `make lock` from pyproject.toml. Do not edit.\n"
ALL = "requirements-dev.txt"
SMALL = {"requirements.txt": "pyproject.toml", "requirements-build.txt": "-"}


def lock(checkout: Path = CHECKOUT) -> None:
    """Write all lock files; versions in the small ones are those of the large one. Until all are made the old ones stay.

    What is locked keeps its version while it satisfies pyproject.toml; without requirements-dev.txt all take the newest."""
    uv = checkout / ".venv" / "bin" / "uv"
    if not uv.exists():
        raise SetupError(f"{uv} is not there", hint="run `make test` once; it makes .venv")
    work = checkout / "build" / "setup" / "locking"
    if work.exists():
        remove_tree(work)
    work.mkdir(parents=True)
    if (checkout / ALL).exists():
        shutil.copy(checkout / ALL, work)  # uv keeps the versions of what it writes over
    _compile(checkout, work / ALL, "pyproject.toml", "--extra", "dev")
    for name, source in SMALL.items():
        _compile(checkout, work / name, source, "--constraint", str(work / ALL))
    npm = _lock_npm(checkout)
    for name in (ALL, *SMALL):
        (work / name).rename(checkout / name)
    npm.rename(checkout / "web" / npm.name)


def _lock_npm(checkout: Path) -> Path:
    """A new package-lock.json: versions and hashes, no registry's address."""
    work = checkout / "build" / "setup" / "npm-lock"
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkout / "web" / "package.json", work)
    runner = Runner(work / "npm.log", work, os.environ)
    words = ("--package-lock-only", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund")
    pages.npm(runner, checkout / ".venv", work, "install", *words)
    print("web/package-lock.json")
    return work / "package-lock.json"


def _compile(checkout: Path, target: Path, *arguments: str) -> None:
    # a machine's own wheels must never be pinned
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    build = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["optional-dependencies"]["build"]
    done = subprocess.run(
        [checkout / ".venv" / "bin" / "uv", *COMPILE, "--output-file", target, *arguments],
        cwd=checkout, env=environ, input="\n".join(build), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SetupError(
            f"{target.name} could not be made; all lock files are as they were", tail=done.stderr, hint=PIP_HINT
        )
    found = target.read_text()
    target.write_text(HEADER + found)
    print(f"{target.name}: {found.count('==')} packages")
