"""`make lock`: the pinned requirements from pyproject.toml, for every Python and platform at once, with hashes and no index."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib

from garage_setup import pages
from garage_setup.command import Runner
from garage_setup.place import CHECKOUT
from garage_setup.problem import SetupError

PYTHON = "3.11"
"""The oldest one; the result is valid for all newer ones too."""
COMPILE = (
    *("pip", "compile", "--no-config", "--universal", "--python-version", PYTHON, "--generate-hashes"),
    *(
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-annotate",
        "--no-header",
        "--no-emit-package",
        "garage",
        "--quiet",
    ),
)
HEADER = "# Made by `make lock` from pyproject.toml. Do not edit.\n"
FILES: dict[str, tuple[str, ...]] = {
    "requirements.txt": ("pyproject.toml", "--constraint", "requirements-dev.txt"),
    "requirements-build.txt": ("-", "--constraint", "requirements-dev.txt"),
}


def lock() -> None:
    """Write all lock files; versions in the small ones are those of the large one."""
    uv = CHECKOUT / ".venv" / "bin" / "uv"
    if not uv.exists():
        raise SetupError(f"{uv} is not there", hint="run `make test` once; it makes .venv")
    (CHECKOUT / "requirements-dev.txt").unlink(missing_ok=True)
    _compile(str(uv), "requirements-dev.txt", ("pyproject.toml", "--extra", "dev"))
    for name, arguments in FILES.items():
        _compile(str(uv), name, arguments)
    _lock_npm()


def _lock_npm() -> None:
    """web/package-lock.json: versions and hashes, no registry's address."""
    venv, work = CHECKOUT / ".venv", CHECKOUT / "build" / "setup" / "npm-lock"
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "web" / "package.json", work)
    runner = Runner(work / "npm.log", work, os.environ)
    pages.npm(
        runner,
        venv,
        work,
        "install",
        "--package-lock-only",
        "--omit-lockfile-registry-resolved",
        "--no-audit",
        "--no-fund",
    )
    shutil.copy(work / "package-lock.json", CHECKOUT / "web")
    print("web/package-lock.json")


def _compile(uv: str, name: str, arguments: tuple[str, ...]) -> None:
    # a machine's own wheels must never be pinned
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    build = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["build"]
    done = subprocess.run(
        [uv, *COMPILE, *arguments], cwd=CHECKOUT, env=environ, input="\n".join(build), capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise SetupError(f"{name} could not be made", tail=done.stderr)
    (CHECKOUT / name).write_text(HEADER + done.stdout)
    print(f"{name}: {done.stdout.count('==')} packages")
