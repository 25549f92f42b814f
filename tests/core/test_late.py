"""Which user-data can be applied to a machine that runs already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.late import LATE, early
from garage.core.userdata import check_user_data

USUAL = """#cloud-config
users:
  - default
  - {name: carol, ssh_authorized_keys: [ssh-ed25519 AAAA x]}
packages: [htop]
package_update: true
write_files:
  - path: /etc/motd
    content: こんにちは
  - {path: /etc/systemd/system/mine.service, content: "[Service]"}
runcmd:
  - [systemctl, enable, --now, mine]
"""


def test_what_people_usually_ask_for_is_late() -> None:
    assert early(USUAL) == ()
    assert early("#!/bin/sh\necho hello\n") == ()
    assert early("#!/usr/bin/python3\n") == ()
    assert early("#cloud-config\n") == early("#cloud-config\n{}\n") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bootcmd: [ls]", ("bootcmd",)),
        ("mounts: []\nruncmd: [ls]\ndisk_setup: {}", ("mounts", "disk_setup")),
        ("network: {version: 2}", ("network",)),
        ("ssh_keys: {ed25519_private: x}", ("ssh_keys",)),
        ("no_such_key: 1", ("no_such_key",)),
        ("<<: {bootcmd: [ls]}", ("<<",)),
        ("write_files: [{path: /etc/sysctl.d/9.conf}, {path: /etc/motd}]", ("write_files /etc/sysctl.d/9.conf",)),
        (
            "write_files: [{path: /etc/systemd/system/ssh.service.d/x.conf}]",
            ("write_files /etc/systemd/system/ssh.service.d/x.conf",),
        ),
        ("write_files: [{path: /etc/fstab, append: true}]", ("write_files /etc/fstab",)),
    ],
)
def test_what_is_needed_at_the_first_boot_is_named(text: str, found: tuple[str, ...]) -> None:
    assert early(f"#cloud-config\n{text}\n") == found


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-boothook\nls\n",
        "#include\nhttp://192.0.2.1/\n",
        "#cloud-config-archive\n[]\n",
        "## template: jinja\n#cloud-config\n",
        "Content-Type: multipart/mixed; boundary=x\n\n",
    ],
)
def test_formats_whose_content_is_not_seen_are_early(text: str) -> None:
    assert early(check_user_data(text)) == (text.split("\n", 1)[0][:40],)


@given(st.sets(st.sampled_from([key for keys in LATE.values() for key in keys])), st.text("abcxyz_", min_size=1))
def test_a_key_that_is_not_in_the_table_is_early_whatever_stands_beside_it(late: set[str], other: str) -> None:
    text = "#cloud-config\n" + "".join(f"{key}: 1\n" for key in sorted(late))
    assert early(text) == ()
    known = other in {key for keys in LATE.values() for key in keys}
    assert early(f"{text}{other}: 1\n") == (() if known else (other,))
