"""`python3 -m garage_setup node`, run on a server that becomes a node, from the kit that its controller sent: netd, and what keeps it up.

Packages, folders and libvirt are node-setup's; settings and secrets are the controller's, which it has put in place before.
"""

from __future__ import annotations

import time
from pathlib import Path

from garage_setup.command import Runner, end_leftovers
from garage_setup.digests import Stamps
from garage_setup.exclusive import exclusive
from garage_setup.files import link, remove_tree, tail
from garage_setup.kit import NAME
from garage_setup.place import Place
from garage_setup.problem import SetupError
from garage_setup.pythons import COMPLETE, PIP, PYTHON, is_complete
from garage_setup.services import SERVICES, Supervisor, service_environment, supervisor, wanted_state

NETD = tuple(service for service in SERVICES if service.name == "netd")
COMMAND_LINK = Path("/usr/local/bin/netd")
PATIENCE = 20.0


def node(place: Place) -> None:
    """Make netd's environment and have it run with what is installed now; nothing is changed where all is so already."""
    with exclusive(place.setup / "lock", "a set-up"):
        runner = Runner(place.log, place.home, place.environ)
        end_leftovers(place.home)
        _environment(place, runner)
        _services(place, Stamps(place.setup / "stamps.json"))


def leave(place: Place) -> None:
    """End netd and remove what it put into the kernel; machines' disks and libvirt stay."""
    keeper = supervisor(place, NETD)
    keeper.stop("netd")
    keeper.remove()
    runner = Runner(place.log, place.home, place.environ)
    for words in (["leave"], ["down"]):
        try:
            runner.run([place.venv / "bin" / "netd", *words, "--config", place.home / "netd" / "netd.toml"])
        except SetupError as error:
            print(f"netd {words[0]}: {error}")
    if COMMAND_LINK.is_symlink() and COMMAND_LINK.readlink() == place.venv / "bin" / "netd":
        COMMAND_LINK.unlink()


def _environment(place: Place, runner: Runner) -> None:
    """A new one beside the one in use, which is left until the new one is whole."""
    kit = place.home / NAME
    wheel = next(kit.glob("garage_netd-*.whl"))
    path = place.home / "venvs" / (kit / "digest").read_text().strip()
    if not is_complete(path):
        print("netd's environment", flush=True)
        if path.exists():
            remove_tree(path)
        path.parent.mkdir(exist_ok=True)
        runner.run([PYTHON, "-m", "venv", path])
        _install(runner, path, kit)
        runner.run([path / "bin" / "python", "-m", "pip", "install", "--no-index", "--no-deps", wheel], env=PIP)
        (path / COMPLETE).touch()
    link(place.venv, path)
    if place.is_default and not COMMAND_LINK.exists() and not COMMAND_LINK.is_symlink():
        COMMAND_LINK.symlink_to(place.venv / "bin" / "netd")
    for other in path.parent.iterdir():
        if other != path:
            remove_tree(other)


def _install(runner: Runner, path: Path, kit: Path) -> None:
    """From the kit, which fits a node with the controller's release; from the node's package index on any other."""
    words = ("install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", kit / "requirements.txt")
    pip = (path / "bin" / "python", "-m", "pip", *words)
    try:
        runner.run([*pip, "--no-index", "--find-links", kit / "wheels"], env=PIP)
    except SetupError:
        print("netd's packages from the package index", flush=True)
        hint = "this server has another Python than the controller's, so it needs a Python package index: /etc/pip.conf names it"
        runner.run(pip, env=PIP, hint=hint)


def _services(place: Place, stamps: Stamps) -> None:
    service_environment(place)
    keeper = supervisor(place, NETD)
    wanted = wanted_state(place, keeper)
    if keeper.running() and stamps.get("running") == wanted:
        return
    print("starting netd", flush=True)
    keeper.stop("netd")
    keeper.install()
    keeper.start("netd")
    _wait(place, keeper)
    stamps.set("running", wanted_state(place, keeper))


def _wait(place: Place, keeper: Supervisor) -> None:
    """Until the same process has run for a second: its settings are good then."""
    deadline, since, pid = time.monotonic() + PATIENCE, time.monotonic(), 0
    while not pid or time.monotonic() - since < 1.0:
        running = keeper.running().get("netd", 0)
        if running != pid or not pid:
            pid, since = running, time.monotonic()
        if time.monotonic() > deadline:
            log = place.home / "log" / "netd" / "current"
            raise SetupError("netd does not stay up", tail=tail(log), hint=f"journalctl -u 'garage-*-netd', or {log}")
        time.sleep(0.1)
