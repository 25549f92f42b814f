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
PATIENCE = 60.0


def start_services(place: Place, runner: Runner, stamps: Stamps, tell: Tell) -> str | None:
    """None when all three ran already, with what is installed now, and answer."""
    service_environment(place)
    keeper = supervisor(place)
    wanted = wanted_state(place)
    running = keeper.running()
    if len(running) == len(NAMES) and stamps.get("running") == wanted and not _silent(place):
        return None
    stale = [] if stamps.get("running") == wanted else list(running)
    keeper.stop(*reversed(stale))
    keeper.install()
    keeper.start(*NAMES)
    runner.note(f"started {', '.join(NAMES)}; restarted {', '.join(stale) or 'none'}")
    _wait(place, keeper, runner, tell)
    stamps.set("running", wanted_state(place))
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
    while silent := _silent(place):
        runner.check()
        tell(f"waiting for {', '.join(silent)}")
        if time.monotonic() > deadline:
            raise _failure(place, keeper, silent)
        time.sleep(0.1)


def _failure(place: Place, keeper: Supervisor, silent: list[str]) -> SetupError:
    """With the log of the process that is to blame."""
    culprit = {"database": "web", "hypervisor": "worker"}.get(silent[0], silent[0])
    log = place.home / "log" / culprit / "current"
    what = "does not stay up" if culprit not in keeper.running() else "does not report itself ready"
    hint = f"see {log}" if log.exists() else f"journalctl -u garage-{place.instance}-{culprit}"
    return SetupError(f"{culprit} {what}", tail=tail(log), hint=hint)
