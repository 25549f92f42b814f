"""What may stand in a node's address and host key: nothing that a program could take for an option, or a resolver for another place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from garage.core.ssh_target import Target, key_fingerprint, parse_host_key, parse_target, plain
from garage.errors import GarageError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmKSvnJgmSWEX7zVr/vRUgqAkpqKF0pCN0xzEuLBS1b"


@pytest.mark.parametrize(
    ("text", "target", "again"),
    [
        ("root@node2", Target("node2"), "node2"),
        ("node2.example.org:2222", Target("node2.example.org", 2222), "node2.example.org:2222"),
        ("root@192.0.2.7", Target("192.0.2.7"), "192.0.2.7"),
        ("root@2001:db8::7", Target("2001:db8::7"), "2001:db8::7"),
        ("root@[2001:db8::7]:22", Target("2001:db8::7"), "2001:db8::7"),
        ("[2001:db8::7]:2222", Target("2001:db8::7", 2222), "[2001:db8::7]:2222"),
    ],
)
def test_a_target_is_read_and_written(text: str, target: Target, again: str) -> None:
    assert parse_target(text) == target
    assert str(target) == again
    assert parse_target(again) == target


@pytest.mark.parametrize(
    "text",
    [
        "", "root@", "-oProxyCommand=touch /tmp/x", "root@-oProxyCommand=x", "root@node2 -v", "root@$(id)", "root@a;b", "root@a\nb",
        "root@node2:", "root@node2:0", "root@node2:65536", "root@node2:٢٢", "root@node2:2x", "admin@node2", "a@root@node2",
        "root@fe80::1%eth0", "root@[node2]:22", "root@0x7f.1", "root@2130706433", "root@127.1", "root@a..b", "root@" + "a" * 254,
        "root@0.0.0.0", "root@::", "root@224.0.0.1", "root@node2/x", "root@[::1", "root@.",
    ],
)  # fmt: skip
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(GarageError) as refused:
        parse_target(text)
    assert refused.value.code == "invalid_field"


def test_a_host_key_is_what_its_type_says(tmp_path: Path) -> None:
    assert parse_host_key(f"{KEY} root@node2") == KEY
    (tmp_path / "key.pub").write_text(KEY)
    said = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True)
    assert key_fingerprint(KEY) in said.stdout
    for wrong in (
        "",
        "ssh-ed25519",
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        KEY.replace("AAAA", "AA!A"),
        "ssh-dss AAAAB3NzaC1kc3M=",
    ):
        with pytest.raises(GarageError):
            parse_host_key(wrong)


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    assert plain("\x1b]0;title\x07red\x1b[31m\u202egnp.exe\n") == "]0;title red [31m gnp.exe"
    assert len(plain("x" * 1000)) == 301
