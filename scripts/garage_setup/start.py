"""Starting what should run, restarting what runs something older, and waiting until all of it answers."""

from __future__ import annotations

import time

from garage_setup.command import Runner
from garage_setup.controller import Controller
from garage_setup.digests import Stamps
from garage_setup.files import tail
from garage_setup.place import Place
from garage_setup.problem import SetupError
from garage_setup.services import SERVICES, Supervisor, service_environment, supervisor, wanted_state
from garage_setup.steps import Tell

NAMES = [service.name for service in SERVICES]
PARTS = ("database", "worker", "netd", "hypervisor")
"""What `/readyz` must report; the image comes later."""
CULPRIT = {"database": "web", "hypervisor": "worker"}
"""The process that answers for a part, where it is not called the same."""
PATIENCE = 60.0
MAX_RESTARTS = 4


def start_services(place: Place, runner: Runner, stamps: Stamps, tell: Tell) -> str | None:
    """None when all three ran already, with what is installed now, and answer."""
    service_environment(place)
    keeper = supervisor(place)
    wanted = wanted_state(place, keeper)
    running = keeper.running()
    if len(running) == len(NAMES) and stamps.get("running") == wanted and not _silent(place):
        return None
    stale = [] if stamps.get("running") == wanted else list(running)
    keeper.stop(*reversed(stale))
    keeper.install()
    keeper.start(*NAMES)
    runner.note(f"started {', '.join(NAMES)}; restarted {', '.join(stale) or 'none'}")
    _wait(place, keeper, runner, tell)
    stamps.set("running", wanted_state(place, keeper))
    return f"{'restarted' if stale else 'started'} netd, web, worker"


def stop_outdated(place: Place) -> None:
    """Before the database is migrated: web and worker of an older version must not use it."""
    supervisor(place).stop("worker", "web")


def _silent(place: Place) -> list[str]:
    """Parts that do not report themselves well."""
    parts = Controller(place).parts()
    return [name for name in PARTS if not parts.get(name)]


def _wait(place: Place, keeper: Supervisor, runner: Runner, tell: Tell) -> None:
    deadline = time.monotonic() + PATIENCE
    seen: dict[str, set[int]] = {name: set() for name in NAMES}
    while silent := _silent(place):
        runner.check()
        tell(f"waiting for {', '.join(silent)}")
        for name, pid in keeper.running().items():
            seen[name].add(pid)
        restless = [name for name in NAMES if len(seen[name]) > MAX_RESTARTS]
        if restless or time.monotonic() > deadline:
            raise _failure(place, restless[0] if restless else CULPRIT.get(silent[0], silent[0]), bool(restless))
        time.sleep(0.2)


def _failure(place: Place, culprit: str, restless: bool) -> SetupError:
    """With the log of the process that is to blame."""
    log = place.home / "log" / culprit / "current"
    what = "does not stay up" if restless else "does not report itself ready"
    hint = f"see {log}" if log.exists() else f"journalctl -u garage-{place.instance}-{culprit}"
    return SetupError(f"{culprit} {what}", tail=tail(log), hint=hint)
