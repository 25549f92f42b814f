"""A recipe says what is in an image; what it does not say or says wrongly is told by name."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import pytest

from garage.core.recipe import SUITES, Recipe, base_of, mmdebstrap_argv, parse_recipe, recipe_of
from garage.core.venvs import GUESTS, download_argv
from garage.errors import GarageError

IMAGES = Path(__file__).parents[2] / "images"
HASH = f"--hash=sha256:{'0' * 64}"
SMALL = """
name = "small"
title = "Small"
suite = "bookworm"
packages = ["systemd-sysv", "openssh-server"]
sources = "Types: deb"
"""


def read(path: Path) -> Recipe:
    """With the recipe on which it is laid."""
    base = base_of(path.read_text())
    return parse_recipe(path.read_text(), path.with_name(f"{base}.toml").read_text() if base else "")


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.toml")), ids=lambda path: path.stem)
def test_our_own_recipes_are_valid(path: Path) -> None:
    assert read(path).name == path.stem


def test_the_plain_image_has_all_packages_of_the_default_one() -> None:
    """Else the benchmark would compare two different things."""
    ours, plain = (parse_recipe((IMAGES / f"{name}.toml").read_text()) for name in ("debian-12", "debian-12-plain"))
    assert set(ours.packages) <= set(plain.packages)
    assert not plain.masked


def test_the_default_image_holds_nobodys_keys() -> None:
    assert "/etc/ssh/ssh_host_*" in parse_recipe((IMAGES / "debian-12.toml").read_text()).removed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("surprise = 1", "surprise"),
        ('disk_gib = "3"', "disk_gib"),
        ("disk_gib = 0", "disk_gib"),
        ("disk_gib = 65", "disk_gib"),
        ('modules = "ext4"', "modules"),
        ("masked = [1]", "masked"),
        ('initrd = "none"', "initrd"),
        ('removed = ["etc/motd"]', "files"),
        ('removed = ["/etc/../../root"]', "files"),
        ('[files]\n"relative" = ""', "files"),
        ('[venvs]\n"/opt/x" = 5', "venvs"),
        ('[venvs]\n"/opt/x" = ""', "venvs"),
        ('[venvs]\n"/opt/x" = "mcap==1.6.0"', "venvs"),
        (f'[venvs]\n"/opt/x" = "mcap>=1 {HASH}"', "venvs"),
        (f'[venvs]\n"/opt/x" = "--index-url https://example.org {HASH}"', "venvs"),
        (f'[venvs]\n"/opt/x" = "mcap @ https://example.org/x.whl {HASH}"', "venvs"),
        (f'[venvs]\n"/opt/x" = """# pip ends a comment here: \\\\\n--no-binary :all:\nmcap==1.6.0 {HASH}"""', "venvs"),
        (f'[venvs]\n"../x" = "mcap==1.6.0 {HASH}"', "files"),
        ("= broken", "file"),
    ],
)
def test_a_wrong_field_is_named(change: str, field: str) -> None:
    with pytest.raises(GarageError) as caught:
        parse_recipe(SMALL + change)
    assert caught.value.code == "invalid_field"
    assert caught.value.pointer == f"/{field}"


@pytest.mark.parametrize("field", ["name", "title", "suite", "packages", "sources"])
def test_a_missing_field_is_named(field: str) -> None:
    text = "\n".join(line for line in SMALL.splitlines() if not line.startswith(field))
    with pytest.raises(GarageError) as caught:
        parse_recipe(text)
    assert caught.value.pointer == f"/{field}"


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("name", "../etc"),
        ("name", "Upper"),
        ("suite", "sid; reboot"),
        ("packages", ("--hook-dir=/tmp",)),
        ("packages", ("a b",)),
    ],
)
def test_what_reaches_a_command_line_or_a_path_is_checked(field: str, bad: str | tuple[str, ...]) -> None:
    value = list(bad) if isinstance(bad, tuple) else bad
    text = "\n".join(line for line in SMALL.splitlines() if not line.startswith(field)) + f"\n{field} = {value!r}"
    with pytest.raises(GarageError) as caught:
        parse_recipe(text)
    assert caught.value.pointer == f"/{field}"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_the_hash_changes_with_every_field(field: str) -> None:
    """Else a changed recipe would not be built again."""
    recipe = parse_recipe(SMALL)
    value = getattr(recipe, field)
    other = (
        value + 1 if isinstance(value, int) else {"/x": "y"} if isinstance(value, dict) else value + type(value)("z")
    )
    assert dataclasses.replace(recipe, **{field: other}).hash != recipe.hash
    assert parse_recipe(SMALL).hash == recipe.hash


def test_the_command_line_boots_from_the_first_disk() -> None:
    assert parse_recipe(SMALL + 'cmdline = "quiet"').kernel_command_line == (
        "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"
    )


def test_the_bootstrap_command() -> None:
    argv = mmdebstrap_argv(
        parse_recipe(SMALL), mirror="http://mirror/debian", keyring="/k.gpg", target="/work/root.tar"
    )
    assert argv[0] == "mmdebstrap"
    assert argv[-3:] == ["bookworm", "/work/root.tar", "http://mirror/debian"]
    assert "--include=systemd-sysv,openssh-server" in argv
    assert "--keyring=/k.gpg" in argv


def test_apt_options_are_the_servers_own_and_no_others() -> None:
    """An image built where nothing needs them must check how old the mirror's indexes are."""
    recipe = parse_recipe(SMALL)
    plain = mmdebstrap_argv(recipe, mirror="http://m/debian", keyring="", target="t")
    assert not [word for word in plain if "Check-" in word or "Proxy" in word]
    argv = mmdebstrap_argv(recipe, mirror="http://m/debian", keyring="", target="t", apt_conf="/work/apt.conf")
    assert set(argv) - set(plain) == {"--aptopt=/work/apt.conf"}


def test_an_image_is_built_with_the_security_updates() -> None:
    argv = mmdebstrap_argv(parse_recipe(SMALL), mirror="http://m/debian", keyring="", target="t", security="http://s/x")
    assert argv[-2:] == ["http://m/debian", "deb http://s/x bookworm-security main"]


OVER = """
base = "small"
name = "over"
without = ["openssh-server"]
packages = ["dropbear"]
[files]
"/etc/over" = "b"
"""


def test_a_recipe_is_laid_over_its_base() -> None:
    base = SMALL + '[files]\n"/etc/base" = "a"\n"/etc/over" = "a"\n'
    made = parse_recipe(OVER, base)
    assert (made.name, made.title, made.packages) == ("over", "Small", ("systemd-sysv", "dropbear"))
    assert made.files == {"/etc/base": "a", "/etc/over": "b"}
    assert (base_of(OVER), base_of(SMALL)) == ("small", "")
    assert recipe_of(json.loads(json.dumps(dataclasses.asdict(made)))) == made


@pytest.mark.parametrize(
    "wrong", ["base = 7", 'base = "../x"', 'base = "small"', 'base = "small"\nwithout = 3', "a" * 10 + "=" + "[" * 5000]
)
def test_a_base_that_is_none_is_told(wrong: str) -> None:
    with pytest.raises(GarageError) as refused:
        read_both(wrong)
    assert refused.value.code == "invalid_field"


def read_both(text: str) -> Recipe:
    base_of(text)
    return parse_recipe(text, SMALL if "without" in text else "")


def test_wheels_are_those_of_the_guests_python_and_glibc() -> None:
    recipe = parse_recipe(SMALL + f'[venvs]\n"/opt/x" = """\n# why\nmcap==1.6.0 \\\\\n    {HASH}\n"""\n')
    assert recipe.hash != parse_recipe(SMALL).hash
    argv = download_argv(["pip"], recipe.suite, recipe.architecture, "in", "out")
    platforms = [value for word, value in pairwise(argv) if word == "--platform"]
    assert (platforms[0], platforms[-1]) == ("manylinux_2_36_x86_64", "linux_x86_64")
    assert "manylinux2014_x86_64" in platforms
    assert ("--python-version", "3.11") in pairwise(argv)
    assert {"--require-hashes", "--no-deps"} <= set(argv)
    assert set(GUESTS) == set(SUITES)
