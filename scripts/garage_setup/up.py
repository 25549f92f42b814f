"""`make up`: from a fresh server to a first machine; again: looks whether all is well, and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from garage_setup.checks import check
from garage_setup.command import Runner, end_leftovers
from garage_setup.controller import Controller
from garage_setup.digests import Stamps
from garage_setup.down import COMMAND_LINK
from garage_setup.exclusive import exclusive
from garage_setup.place import Place
from garage_setup.plan import Plan
from garage_setup.problem import SetupError
from garage_setup.screen import Screen
from garage_setup.steps import Graph, Report


def up(place: Place) -> None:
    """All steps, the slow ones side by side; then what one needs to know."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _as_interrupt)
    check(place)
    with exclusive(place.setup / "lock", "make up or down"):
        runner = Runner(place.log, place.home, place.environ)
        if ended := end_leftovers(place.home):
            runner.note(f"ended {ended} processes of an interrupted run")
        stamps = Stamps(place.setup / "stamps.json")
        plan = Plan(place, runner, stamps)
        with Screen() as screen:
            report = Graph(plan.steps(), stamps, screen, runner).run()
        plan.remove_old_environments()
        _link_command(place)
        _summary(place, runner, report, time.monotonic() - started)


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _link_command(place: Place) -> None:
    """`garage` for everybody on the server; only the default garage, and never over something else."""
    if place.is_default and not COMMAND_LINK.exists() and not COMMAND_LINK.is_symlink():
        COMMAND_LINK.symlink_to(place.venv / "bin" / "garage")


def _summary(place: Place, runner: Runner, report: Report, seconds: float) -> None:
    if not report.changed:
        print(f"everything is up and as it should be; nothing changed ({seconds:.1f} s)")
    controller = Controller(place)
    admin = place.environ.get("GARAGE_ADMIN") or "admin"
    prefix = "sudo " if os.environ.get("SUDO_USER") else ""
    command = (
        "garage"
        if COMMAND_LINK.resolve() == (place.venv / "bin" / "garage").resolve()
        else f"GARAGE_HOME={place.home} {place.venv}/bin/garage"
    )
    rows = {
        "URL": controller.url,
        # a link for who sets up; later ones are made on demand, so that a repeated `make up` resets nobody
        "login": f"{admin}; to set the password: {_link(place, admin)}" if "machine" in report.results else admin,
        "token": f"{place.home}/admin.token",
        "ssh": f"{prefix}{command} ssh first",
    }
    invite = f"{prefix}{command} site invite NAME"
    rows["sites"] = f"to add one: {invite if controller.tls else f'GARAGE_LISTEN=0.0.0.0:8443 make up, then {invite}'}"
    if report.changed:
        rows["total"] = f"{seconds:.1f} s; each step is in {place.log}"
    runner.note(f"up in {seconds:.1f} s: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
    print("\n".join(f"  {name:<8}{value}" for name, value in rows.items()))
    sys.stdout.flush()


def _link(place: Place, admin: str) -> str:
    """A one-time link. It goes to the terminal and into no log."""
    environ = {**os.environ, "GARAGE_HOME": str(place.home)}
    command: list[str | Path] = [place.venv / "bin" / "garage-server", "link", admin]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError("no link could be made to set the admin's password", tail=done.stderr, hint="make up")
    return str(json.loads(done.stdout)["link"])
