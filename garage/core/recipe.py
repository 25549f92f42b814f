"""An image's recipe: what is in it, read from a TOML file; pure."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from garage.core.venvs import wrong_requirements
from garage.errors import N_, GarageError

CMDLINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0"
"""Of every image that boots directly; a recipe may add words. The disk by its place: a volume may have any label."""
SUITES = ("bookworm", "trixie")
APT_LEFTOVER = "etc/apt/apt.conf.d/99mmdebstrap"
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
PATH = re.compile(r"/[A-Za-z0-9._@/+-]+")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Debian image. `files` are written over the packages' own (an executable's text begins with "#!"); `masked` are systemd units."""

    name: str
    title: str
    suite: str
    packages: tuple[str, ...]
    sources: str
    """The guest's own apt sources, deb822."""
    architecture: str = "amd64"
    disk_gib: int = 3
    """Virtual size of the image; a machine's disk may be larger and is grown at its first boot."""
    cmdline: str = ""
    initrd: str = "garage"
    """ "garage": our small one, which gives the machine its identity before systemd starts; "debian": the distribution's."""
    modules: tuple[str, ...] = ()
    """Kernel modules of our initrd, in the order of loading; their dependencies come along."""
    masked: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Paths (globs) that are deleted."""
    files: Mapping[str, str] = field(default_factory=dict)
    venvs: Mapping[str, str] = field(default_factory=dict)
    """Python environments by their folder: requirements, each pinned and with the sha256 of its wheel (`core.venvs`)."""

    @property
    def hash(self) -> str:
        """Changes with anything that changes the image."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def kernel_command_line(self) -> str:
        return f"{CMDLINE} {self.cmdline}".strip()


def parse_recipe(text: str, base: str = "") -> Recipe:
    """The recipe in `text`; raises `invalid_field` naming what is wrong. One that names a `base` is laid over that recipe, the text `base`:
    lists are appended to, files added, all else replaced; `without` lists words that the base's lists lose."""
    data = _read(text)
    if (name := data.pop("base", None)) is not None:
        if not base:
            raise _bad("base", f"the recipe {str(name)[:40]} is needed, too")
        data = _laid_over(_read(base), data)
    return recipe_of(data)


def base_of(text: str) -> str:
    """The name of the recipe on which the one in `text` is laid, whose file is beside it; "" without one."""
    name = _read(text).get("base", "")
    if not isinstance(name, str) or (name and not NAME.fullmatch(name)):
        raise _bad("base", "the name of a recipe is needed")
    return name


def recipe_of(data: Mapping[str, Any]) -> Recipe:
    """Of a recipe's fields, as TOML or JSON has them."""
    known = set(Recipe.__dataclass_fields__)
    for key in data.keys() - known:
        raise _bad(key, "there is no such field")
    for key in ("name", "title", "suite", "packages", "sources"):
        if key not in data:
            raise _bad(key, "it is missing")
    recipe = Recipe(**{key: _shaped(key, value) for key, value in data.items()})
    _check(recipe)
    return recipe


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:  # the latter: nested without end
        raise _bad("file", str(error)) from None


def _laid_over(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    without = data.pop("without", [])
    if not isinstance(without, list):
        raise _bad("without", "a list of texts is needed")
    made = base | data
    for key, value in base.items():
        over = data.get(key, [])
        if isinstance(value, list) and isinstance(over, list):
            made[key] = [word for word in value if word not in without] + over
        elif isinstance(value, dict) and isinstance(over, dict):
            made[key] = value | over
    return made


def _shaped(key: str, value: Any) -> Any:
    wanted = Recipe.__dataclass_fields__[key].type
    if str(wanted).startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _bad(key, "a list of texts is needed")
        return tuple(value)
    kind: type = {"int": int, "str": str}.get(str(wanted), dict)
    if not isinstance(value, kind):
        raise _bad(key, f"{kind.__name__} is needed")
    return value


def _check(recipe: Recipe) -> None:
    if not NAME.fullmatch(recipe.name):
        raise _bad("name", "lower-case letters, digits, dots and hyphens are needed")
    if recipe.suite not in SUITES:
        raise _bad("suite", f"one of {', '.join(SUITES)} is needed")
    if recipe.initrd not in ("garage", "debian"):
        raise _bad("initrd", "garage or debian is needed")
    if not 1 <= recipe.disk_gib <= 64:
        raise _bad("disk_gib", "1 to 64 is needed")
    for package in recipe.packages:
        if not PACKAGE.fullmatch(package):
            raise _bad("packages", f"“{package[:40]}” is no package")
    _check_paths(recipe)


def _check_paths(recipe: Recipe) -> None:
    for path, requirements in recipe.venvs.items():
        if reason := wrong_requirements(requirements):
            raise _bad("venvs", f"{path[:60]}: {reason}")
    for path in (*recipe.files, *recipe.removed, *recipe.venvs):
        if not PATH.fullmatch(path.replace("*", "x")) or ".." in path:
            raise _bad("files", f"“{path[:60]}” is no absolute path")


def mmdebstrap_argv(
    recipe: Recipe, *, mirror: str, keyring: str, target: str, security: str = "", apt_conf: str = ""
) -> list[str]:
    """The command that makes the root file system as a tar file.

    `security` is the mirror of the security updates. `apt_conf` is a file with what this server needs to reach the mirror (a
    file, since a proxy's URL may hold a password); nothing else of its configuration is used. mmdebstrap leaves all of it in the
    guest's APT_LEFTOVER, which must be removed: a guest that takes expired indexes could be held on old packages.
    """
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--architectures={recipe.architecture}",
        f"--include={','.join(recipe.packages)}",
        *([f"--keyring={keyring}"] if keyring else []),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"',
        *([f"--aptopt={apt_conf}"] if apt_conf else []),
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        recipe.suite,
        target,
        mirror,
        *([f"deb {security} {recipe.suite}-security main"] if security else []),
    ]


def _bad(field_name: str, reason: str) -> GarageError:
    return GarageError(
        "invalid_field",
        N_("the recipe's {field}: {reason}"),
        hint=N_("images/debian-12.toml shows what a recipe may say"),
        pointer=f"/{field_name}",
        field=field_name,
        reason=reason,
    )
