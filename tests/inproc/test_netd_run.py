"""How netd starts programs and daemons, and what it says of one that failed."""

import os
import signal
from pathlib import Path

import pytest

from netd.errors import NetdError
from netd.shell.run import run, start


@pytest.mark.parametrize(
    ("script", "said"), [("kill -SEGV $$", "ended by SIGSEGV"), ("exit 3", "exit 3"), ("echo no >&2; exit 1", "no")]
)
def test_how_a_program_ended_is_told(script: str, said: str) -> None:
    with pytest.raises(NetdError, check=lambda error: str(error).endswith(said)):
        run(["sh", "-c", script])


def test_a_daemon_that_keeps_its_output_open_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netd.shell.run.TIMEOUT", 5.0)
    script = f"sleep 60 & echo $! > {tmp_path}/pid"
    start(["sh", "-c", script])
    number = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{number}").exists(), "the control: it runs on"
    os.kill(number, signal.SIGKILL)


def test_what_a_daemon_says_when_it_does_not_start_is_told() -> None:
    with pytest.raises(NetdError, match=r"sh -c .*: no such option") as raised:
        start(["sh", "-c", "echo no such option >&2; exit 3"])
    assert raised.value.code == "tool"
    with pytest.raises(NetdError, match="No such file or directory"):
        start(["/nonexistent/bgpd"])
