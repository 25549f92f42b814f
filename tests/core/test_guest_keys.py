"""core.guest_keys: the script that a guest runs, in a folder that stands for its root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from garage.core.guest_keys import FOLLOW
from garage.core.seed import Identity, authorized_keys_text, seed_files

ALICE, BOB, CAROL, OWN = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 43} {letter}@desk" for letter in "abco")


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """As cloud-init leaves it after a first boot with alice's and bob's keys; then somebody added a key of their own by hand."""
    who = Identity(
        "id", "one", "one.alice", "PRIVATE", "ssh-ed25519 AAAAHOST", (ALICE, BOB), own_mac="52:67:00:00:00:01"
    )
    kept = tmp_path / "var/lib/cloud/instance"
    kept.mkdir(parents=True)
    (kept / "vendor-data.txt").write_bytes(seed_files(who)["vendor-data"])
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\ndebian:x:1000:1000::/home/debian:/bin/bash\n")
    for home in ("root", "home/debian", "home/cloud"):
        (tmp_path / home / ".ssh").mkdir(parents=True)
        (tmp_path / home / ".ssh/authorized_keys").write_text(f"# by cloud-init\n{ALICE}\nno-pty {BOB}\n{OWN}")
    return tmp_path


def follow(guest: Path, *keys: str) -> None:
    text = authorized_keys_text(keys)
    done = subprocess.run(
        ["/bin/sh", "-c", FOLLOW], input=text, env={**os.environ, "GARAGE_ROOT": str(guest)}, text=True, check=False
    )
    assert done.returncode == 0


def known(guest: Path, home: str = "home/debian") -> Sequence[str]:
    return (guest / home / ".ssh/authorized_keys").read_text().splitlines()


def test_what_the_garage_gave_is_taken_back_and_what_others_wrote_stays(guest: Path) -> None:
    follow(guest, ALICE, CAROL)
    assert known(guest) == ["# by cloud-init", ALICE, OWN, CAROL]
    for home in ("root", "home/cloud"):
        assert known(guest, home) == ["# by cloud-init", ALICE, OWN], "wherever cloud-init put it"
    follow(guest, BOB)
    assert known(guest) == ["# by cloud-init", OWN, BOB], "what came later goes, too"
    follow(guest)
    assert known(guest) == ["# by cloud-init", OWN]


def test_a_second_time_nothing_changes(guest: Path) -> None:
    follow(guest, ALICE, CAROL)
    before = {path: (path.read_text(), path.stat().st_mode) for path in guest.rglob("*") if path.is_file()}
    follow(guest, ALICE, CAROL)
    assert {path: (path.read_text(), path.stat().st_mode) for path in guest.rglob("*") if path.is_file()} == before


def test_without_a_file_there_is_one_and_no_link_is_followed(guest: Path) -> None:
    (guest / "home/debian/.ssh/authorized_keys").unlink()
    elsewhere = guest / "elsewhere"
    elsewhere.write_text(f"{BOB}\n")
    path = guest / "home/cloud/.ssh/authorized_keys"
    path.unlink()
    path.symlink_to(elsewhere)
    follow(guest, CAROL)
    assert known(guest) == [CAROL]
    assert (guest / "home/debian/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
    assert elsewhere.read_text() == f"{BOB}\n"
