"""The gateway to other servers against a real sshd on another server: pinned key, controller's key, password, hostile output."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Servers

pytestmark = pytest.mark.machine

ROOT = Path(__file__).parents[2]
HEAD = """
import json, sys
from pathlib import Path
from garage.core.types import NodeAccess
from garage.errors import GarageError
from garage.shell.remote_shell import RemoteShell, scan
given = json.load(sys.stdin)
access = NodeAccess("two", "", given["address"], given["host_key"])
def refused(act):
    try:
        act()
    except GarageError as error:
        return error.code, error.message
    return "", ""
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Servers]:
    with Servers("one", "two") as made:
        made["one"].run("ssh-keygen -q -t ed25519 -N '' -f /root/key")
        yield made


def inside(lab: Servers, code: str, **given: str) -> Any:
    """Run on server one, towards server two; what it leaves in `said`."""
    two = lab["two"]
    known = {"address": two.address, "host_key": two.host_key, "password": two.password, **given}
    script = HEAD + textwrap.dedent(code) + "\nprint(json.dumps(said))"
    argv = lab["one"].enter([sys.executable, "-c", script], str(ROOT))
    done = subprocess.run(argv, input=json.dumps(known), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_password_lets_in_once_and_the_key_from_then_on(lab: Servers) -> None:
    said = inside(
        lab,
        """
        shell = RemoteShell(access, Path("/root/key"))
        said = [scan(access.address), refused(lambda: shell.run(["true"], timeout=20))]
        key = Path("/root/key.pub").read_text()
        said.append(refused(lambda: shell.login("wrong", ["true"], timeout=20)))
        install = "mkdir -p -m 700 ~/.ssh; cat >>~/.ssh/authorized_keys; hostname"
        said.append(shell.login(given["password"], install, timeout=20, input=key).stdout)
        said.append(shell.run(["hostname"], timeout=20).stdout)
        said.append(sorted(str(path.name) for path in shell._folder.iterdir()))
        shell.close()
        """,
    )
    assert said[0] == [lab["two"].host_key]
    assert said[1][0] == said[2][0] == "ssh_failed"
    assert "does not let root in" in said[2][1]
    assert said[3:5] == ["two\n", "two\n"]
    assert said[5] == ["control", "known"], "nothing of the password is left"


def test_files_arrive_whole_and_words_stay_words(lab: Servers) -> None:
    said = inside(
        lab,
        """
        with RemoteShell(access, Path("/root/key")) as shell:
            shell.put("/etc/a folder/it's", bytes(range(256)) * 1000, 0o640)
            found = shell.run(["stat", "-c", "%a %U %s", "/etc/a folder/it's"], timeout=20).stdout
            words = shell.run(["printf", "%s|", "$HOME", "a b", "';touch /tmp/hit;'"], timeout=20).stdout
            lines = []
            shell.run("for n in 1 2 3; do echo $n; done", timeout=20, on_line=lines.append)
            said = [found, words, lines, shell.run(["cat"], timeout=20, input="in").stdout]
            said.append(refused(lambda: shell.run("echo no >&2; exit 3", timeout=20)))
        """,
    )
    assert said[0] == "640 root 256000\n"
    assert said[1] == "$HOME|a b|';touch /tmp/hit;'|"
    assert said[2] == ["1", "2", "3"]
    assert said[3] == "in"
    assert said[4][0] == "tool_failed"


def test_another_host_key_endless_output_and_silence_are_ended(lab: Servers) -> None:
    said = inside(
        lab,
        """
        with RemoteShell(access, Path("/root/key")) as shell:
            said = [refused(lambda: shell.run("yes", timeout=20)), refused(lambda: shell.run("sleep 60", timeout=0.5))]
            said.append(shell.run(["hostname"], timeout=20).stdout)
        other = NodeAccess("two", "", access.address, Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text())
        with RemoteShell(other, Path("/root/key")) as shell:
            said.append(refused(lambda: shell.run(["true"], timeout=20)))
            said.append(refused(lambda: shell.login(given["password"], ["true"], timeout=20)))
        """,
    )
    assert [code for code, _ in said[:2]] == ["tool_failed", "timeout"]
    assert said[2] == "two\n"
    for code, text in said[3:]:
        assert code == "ssh_failed"
        assert "another SSH host key" in text
