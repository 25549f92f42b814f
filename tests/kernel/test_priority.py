"""A process that carries links goes before the rest of the server, by its threads' nice value and its session's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netd.shell.priority import prefer


def session(process: int) -> int | None:
    """The nice value of its session; None where this kernel doesn't share the cores among sessions (no file, or an empty one)."""
    path = Path(f"/proc/{process}/autogroup")
    said = path.read_text() if path.exists() else ""
    return int(said.rpartition(" ")[2]) if said else None


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_and_the_session_that_it_leads_are_preferred_once(leads: bool) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=leads) as process:
        try:
            before = session(process.pid)
            assert [prefer(process.pid, -10) for _ in range(2)] == [True, False]
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == -10
            preferred = before is not None and leads  # a session of others stays as it is
            assert session(process.pid) == (-10 if preferred else before)
        finally:
            process.kill()
    assert not prefer(process.pid, -10)
