"""From a recipe to a root file system in a folder."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from garage.core.mirror import Mirror
from garage.core.recipe import APT_LEFTOVER, Recipe, mmdebstrap_argv
from garage.core.seed import LOGIN
from garage.errors import N_, GarageError
from garage.shell.run import run
from garage.shell.venvs import make_venvs

BOOTSTRAP_SECONDS = 1800.0
UNREACHABLE = (
    *("Could not resolve", "Could not connect", "Failed to fetch", "Connection refused", "Connection timed out"),
    *("Unable to connect", "does not have a Release file"),
)
FULL = ("No space left", "have enough free space")
"""What programs say when a disk is full; the second is apt's."""
log = logging.getLogger(__name__)


def make_rootfs(recipe: Recipe, mirror: Mirror, work: Path) -> Path:
    """Bootstrap, unpack and change the root file system below `work`; its folder."""
    root = work / "root"
    bootstrap(recipe, mirror, work / "root.tar")
    root.mkdir()
    xattrs = ("--xattrs", "--xattrs-include=*")  # capabilities, too: ping has no other right to its socket
    unpack = ["tar", "--numeric-owner", *xattrs, "-xpf", str(work / "root.tar"), "--exclude=./dev/*", "-C", str(root)]
    run(unpack, timeout=300)
    (work / "root.tar").unlink()
    _apply(recipe, root)
    make_venvs(recipe, root, work)
    return root


def bootstrap(recipe: Recipe, mirror: Mirror, target: Path) -> None:
    """mmdebstrap, its own errors told apart: no mirror, no space, anything else.

    A mirror without the security updates still gives an image: its machines update themselves from the recipe's sources.
    """
    stderr = _mmdebstrap(recipe, mirror, target)
    if (
        mirror.security
        and _unreachable(stderr)
        and f" {mirror.security}/" in stderr
        and f" {mirror.url}/" not in stderr
    ):
        log.warning("%s does not give security updates: %s is built without them", mirror.security, recipe.name)
        stderr = _mmdebstrap(recipe, replace(mirror, security=""), target)
    if not stderr:
        return
    if any(sign in stderr for sign in FULL):
        raise disk_full(target.parent, recipe)
    if _unreachable(stderr):
        hint = N_("name another with GARAGE_DEBIAN_MIRROR")
        raise GarageError(
            "mirror_unreachable", N_("the mirror {mirror} does not give the packages"), hint=hint, mirror=mirror.url
        )
    raise GarageError(
        "image_build_failed",
        N_("the image {name} could not be built: {reason}"),
        name=recipe.name,
        reason=stderr[-600:],
    )


def _mmdebstrap(recipe: Recipe, mirror: Mirror, target: Path) -> str:
    """Nothing, or why it failed: its lines that tell an error, or else its last ones."""
    argv = mmdebstrap_argv(
        recipe,
        mirror=mirror.url,
        keyring=mirror.keyring if Path(mirror.keyring).exists() else "",
        target=str(target),
        security=mirror.security,
        apt_conf=str(_apt_conf(mirror, target.parent)),
    )
    environ = {"TMPDIR": str(target.parent), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    alone = ["unshare", "--mount"]  # what it mounts below its folder ends with it, however it ends
    done = run([*alone, *argv], timeout=BOOTSTRAP_SECONDS, check=False, env=environ)
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("E:") or any(sign in line for sign in FULL)]
    return "\n".join(errors) or done.stderr[-600:] or f"exit {done.returncode}"


def _unreachable(stderr: str) -> bool:
    return any(sign in stderr for sign in UNREACHABLE)


def installed(root: Path) -> str:
    """A line "package version" for each package of the tree (dpkg-query(1))."""
    show = "--showformat=${binary:Package} ${Version}\\n"
    return run(["chroot", str(root), "dpkg-query", "--show", show], timeout=60).stdout


def _apt_conf(mirror: Mirror, work: Path) -> Path:
    """The apt options of `mirror` as a file of ours alone."""
    path = work / "apt.conf"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{option}\n" for option in mirror.apt_options)
    return path


def needed_gib(recipe: Recipe) -> float:
    """Disk that a build takes at most: the tree, its raw disk and the qcow2, for a while together."""
    return recipe.disk_gib * 1.5 + 1


def disk_full(folder: Path, recipe: Recipe) -> GarageError:
    free = shutil.disk_usage(folder).free / (1 << 30)
    return GarageError(
        "disk_full",
        N_("building {name} needs {needed} GiB of disk; {free} GiB are free"),
        hint=N_("free some space in {folder} and run it again"),
        name=recipe.name,
        needed=needed_gib(recipe),
        free=round(free, 1),
        folder=str(folder),
    )


def _apply(recipe: Recipe, root: Path) -> None:
    chroot = ["chroot", str(root)]
    run([*chroot, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo,adm", LOGIN], timeout=60)
    (root / APT_LEFTOVER).unlink(missing_ok=True)
    for pattern in recipe.removed:
        for path in root.glob(pattern.lstrip("/")):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (root / "etc/apt/sources.list.d").glob("*"):
        path.unlink()
    for name, text in {**recipe.files, "/etc/apt/sources.list.d/debian.sources": recipe.sources}.items():
        _write(root, name, text)
    (root / "etc/ssh/authorized_keys.d").mkdir(exist_ok=True)
    _link(root / "etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    for unit in recipe.masked:
        _link(root / "etc/systemd/system" / unit, "/dev/null")
    if recipe.enabled:
        run([*chroot, "systemctl", "enable", "--quiet", *recipe.enabled], timeout=120)


def _write(root: Path, name: str, text: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = text.removeprefix("\n")
    path.write_text(text)
    path.chmod(0o440 if "sudoers" in name else 0o755 if text.startswith("#!") else 0o644)


def _link(path: Path, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.symlink_to(target)
