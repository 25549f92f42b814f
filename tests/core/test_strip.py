"""What takes a machine's identity off its disk: the archive that its guest gets, and what is made of what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from garage.core import qcow2, strip
from garage.errors import GarageError
from tests.hostileimages import HOSTILE


def test_the_kernel_finds_two_scripts_that_a_shell_takes(tmp_path: Path) -> None:
    """Behind another archive, as in the guest."""
    subprocess.run(["cpio", "-idm", "--quiet"], input=strip.archive(), cwd=tmp_path, check=True)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "strip": 0o755,
        "strip-root": 0o755,
    }
    for path in tmp_path.iterdir():
        subprocess.run(["sh", "-n", path], check=True)
    assert (tmp_path / "strip").read_bytes().startswith(b"#!/bin/busybox sh\n")
    assert len(strip.archive()) % 4 == 0


@pytest.mark.parametrize(
    ("console", "code"),
    [
        ("[ 1.0] Linux\r\ngarage-strip: done\r\n[ 5.4] reboot: Power down\r\n", ""),
        ("garage-strip: hidden\n", "image_refused"),
        ("garage-strip: left\n", "image_refused"),
        ("garage-strip: done\ngarage-strip: no-trim\n", "tool_failed"),
        ("garage-strip: \x1b[2J<script>\n", "tool_failed"),
        ("Kernel panic - not syncing\n", "tool_failed"),
        ("", "tool_failed"),
    ],
)
def test_only_done_is_done(console: str, code: str) -> None:
    if not code:
        strip.judge(console)
        return
    with pytest.raises(GarageError) as error:
        strip.judge(console)
    assert (error.value.code, bool(error.value.hint)) == (code, True)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_machines_disk_may_lie_on_another_and_nothing_else(name: str) -> None:
    why, make = HOSTILE[name]
    file = make()
    if why == "backing_file":
        assert qcow2.parse(file[: qcow2.HEAD], len(file), most_gib=64, overlay=True).virtual_bytes == 1 << 30
        return
    with pytest.raises(GarageError) as error:
        qcow2.parse(file[: qcow2.HEAD], len(file), most_gib=64, overlay=True)
    assert error.value.params["why"] == why
