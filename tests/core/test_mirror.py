"""Which mirror an image is built from: what was asked for, else the server's own, else the public one."""

from __future__ import annotations

import pytest

from garage.core.mirror import PUBLIC, choose_mirror, fetching_options

DEBIAN, UBUNTU = 'NAME="Debian GNU/Linux"\nID=debian\n', "ID=ubuntu\nID_LIKE=debian\n"
DEB822 = """
Types: deb
# the office's mirror
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """
# deb http://old.example/debian bullseye main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://one.example/debian/ bookworm main
deb https://vendor.example/apt stable main
"""


def test_the_variable_wins() -> None:
    chosen = choose_mirror({"GARAGE_DEBIAN_MIRROR": "http://given.example/debian/"}, DEBIAN, [DEB822])
    assert chosen.url == "http://given.example/debian"


@pytest.mark.parametrize(
    ("sources", "url"),
    [
        ([DEB822], "http://mirror.example/debian"),
        ([ONE_LINE], "https://one.example/debian"),
        (["", "", ONE_LINE, DEB822], "https://one.example/debian"),
    ],
)
def test_a_debian_gives_its_own(sources: list[str], url: str) -> None:
    assert choose_mirror({}, DEBIAN, sources).url == url


@pytest.mark.parametrize(
    "sources",
    [
        [],
        [""],
        ["deb cdrom:[Debian 12]/ bookworm main"],
        ["deb https://vendor.example/apt stable main"],
        ["Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\n"],
    ],
)
def test_a_debian_without_a_usable_one_takes_the_public_one(sources: list[str]) -> None:
    assert choose_mirror({}, DEBIAN, sources).url == PUBLIC


def test_another_distribution_takes_the_public_one() -> None:
    assert choose_mirror({}, UBUNTU, ["deb http://archive.example/debian noble main"]).url == PUBLIC


def test_a_source_that_is_switched_off_is_no_mirror() -> None:
    """deb822: "Enabled: no" (sources.list(5))."""
    off = "Types: deb\nURIs: http://dead.example/debian\nSuites: bookworm\nEnabled: no\n"
    assert choose_mirror({}, DEBIAN, [f"{off}\n{DEB822}"]).url == "http://mirror.example/debian"


def test_source_packages_are_no_mirror() -> None:
    src = "Types: deb-src\nURIs: http://source.example/debian\nSuites: bookworm\n"
    assert choose_mirror({}, DEBIAN, [src]).url == PUBLIC


def test_addresses_may_go_on_in_the_next_line() -> None:
    folded = "Types: deb deb-src\nURIs:\n http://folded.example/debian\nSuites: bookworm\n"
    assert choose_mirror({}, DEBIAN, [folded]).url == "http://folded.example/debian"


def test_only_what_fetching_needs_is_taken_from_the_servers_apt() -> None:
    dump = """\
APT::Architecture "amd64";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Proxy::mirror.example "DIRECT";
Acquire::http::Proxy-Auto-Detect "/usr/bin/guess";
Acquire::https::CaInfo "";
Acquire::Languages "none";
DPkg::Post-Invoke:: "rm -rf /";
"""
    assert fetching_options(dump) == (
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::Proxy::mirror.example "DIRECT";',
    )
    assert choose_mirror({}, DEBIAN, [DEB822], dump).apt_options == fetching_options(dump)
    assert choose_mirror({}, DEBIAN, [DEB822]).apt_options == ()


@pytest.mark.parametrize(
    ("environ", "sources", "security"),
    [
        ({"GARAGE_DEBIAN_MIRROR": "http://given.example/debian/"}, [DEB822], "http://given.example/debian-security"),
        ({"GARAGE_DEBIAN_MIRROR": "http://given.example/odd"}, [DEB822], ""),
        ({}, [DEB822], "http://security.example/debian-security"),
        ({}, [ONE_LINE], "https://one.example/debian-security"),
        ({}, [], f"{PUBLIC}-security"),
    ],
)
def test_security_updates_come_from_beside_it(environ: dict[str, str], sources: list[str], security: str) -> None:
    assert choose_mirror(environ, DEBIAN, sources).security == security
