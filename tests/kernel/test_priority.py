"""A process that carries links goes before the rest of the server, by its threads' nice value and its session's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netd.shell.priority import prefer

SESSIONS = Path("/proc/sys/kernel/sched_autogroup_enabled")


def session(process: int) -> int:
    return int(Path(f"/proc/{process}/autogroup").read_text().rpartition(" ")[2])


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_and_the_session_that_it_leads_are_preferred_once(leads: bool) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=leads) as process:
        try:
            before = session(process.pid) if SESSIONS.exists() else 0
            assert [prefer(process.pid, -10) for _ in range(2)] == [True, False]
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == -10
            if SESSIONS.exists():  # a session of others, too, stays as it is
                assert session(process.pid) == (-10 if leads else before)
        finally:
            process.kill()
    assert not prefer(process.pid, -10)
