"""`make test` and its longer relatives, `make bench`: installs all that the suite needs, then runs it in the checkout's own `.venv`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from garage_setup import pages, pythons
from garage_setup.command import Runner
from garage_setup.digests import Stamps, of_files
from garage_setup.exclusive import exclusive
from garage_setup.place import CHECKOUT, SCRIPTS
from garage_setup.screen import Screen
from garage_setup.steps import Graph, Step, Tell

CACHE = Path(os.environ.get("GARAGE_TEST_CACHE") or "/var/cache/garage-test")
VENV = CHECKOUT / ".venv"
WORK = CHECKOUT / "build" / "setup"
ROLES = "build hypervisor network test controller"
BESIDE = ("core", "inproc")
"""Tiers whose files may run beside one another, a process per processor: nothing in them is real but files and databases of their own."""
ALONE = ("contract", "kernel", "machine", "browser")
MOST_PROCESSES = 8
SLOWEST = 15


class Workbench:
    """The checkout made ready for tests; quick when it is."""

    def __init__(self, roles: str) -> None:
        self.roles = roles
        self.runner = Runner(WORK / "setup.log", WORK / "home", os.environ)
        self.environments = pythons.Environments(self.runner, VENV, CACHE / "pip")
        self.stamps = Stamps(VENV / "stamps.json")

    def steps(self) -> list[Step]:
        python = pythons.python_digest(CHECKOUT / "requirements-dev.txt", CHECKOUT / "pyproject.toml")
        vendor = of_files([], python, pages.vendor_digest(CHECKOUT / "web"))
        return [
            Step("packages", self.packages),
            Step("python", self.python, (), lambda: python, lambda: pythons.is_complete(VENV)),
            Step("pages", self.vendor, ("python",), lambda: vendor, (CHECKOUT / "web/static/vendor").is_dir),
            Step("libvirt", self.link_libvirt, ("packages", "python")),
            Step("translations", self.translations, ("python",)),
        ]

    def packages(self, tell: Tell) -> None:
        arguments = ("--home", CACHE / "home", "--roles", self.roles)
        self.runner.run([SCRIPTS / "node-setup", *arguments], on_line=tell, uninterrupted=True)

    def python(self, tell: Tell) -> str:
        self.environments.make_tools(CHECKOUT / "requirements-dev.txt", tell)
        self.environments.install_editable(VENV, CHECKOUT, tell)
        return "pinned Python packages"

    def vendor(self, tell: Tell) -> str:
        """Also what only tests need: `node_modules` stays in the work folder."""
        pages.vendor(self.runner, VENV, CHECKOUT / "web", WORK / "npm", CHECKOUT / "web/static/vendor", tell)
        return "npm packages of the pages"

    def link_libvirt(self, _tell: Tell) -> None:
        pythons.link_libvirt(VENV)

    def translations(self, _tell: Tell) -> None:
        pages.compile_translations(self.runner, VENV, CHECKOUT / "web" / "translations")


def prepare(roles: str = ROLES) -> None:
    """Everything that tests and benchmarks need; told on standard error."""
    WORK.mkdir(parents=True, exist_ok=True)
    with exclusive(WORK / "lock", "a preparation of tests"):
        bench = Workbench(roles)
        with Screen(sys.stderr) as screen:
            Graph(bench.steps(), bench.stamps, screen, bench.runner).run()


def test(arguments: list[str]) -> None:
    """Lint, then the tiers from the purest to the most real, in two runs of which the second does not ask how the first went; pytest's
    closing line is the last one."""
    prepare()
    if arguments:
        sys.exit(_pytest(*arguments))
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    beside = _pytest("-n", str(processes), "--dist", "loadfile", *_folders(BESIDE))
    sys.exit(max(_pytest(*_folders(ALONE)), beside))


def _folders(tiers: tuple[str, ...]) -> list[str]:
    return [f"tests/{tier}" for tier in tiers]


def _pytest(*words: str) -> int:
    return _in_venv("-m", "pytest", "-p", "no:cacheprovider", f"--durations={SLOWEST}", "--durations-min=1", *words)


def long(module: str) -> None:
    """A long run, told in its own first lines: `tests.long.MODULE`. MINUTES and SEED are its arguments where it has them."""
    prepare()
    given = {"--minutes": os.environ.get("MINUTES", ""), "--seed": os.environ.get("SEED", "")}
    words = [word for name, value in given.items() if value for word in (name, value)]
    sys.exit(_in_venv("-m", f"tests.long.{module}", *words))


def bench(name: str) -> None:
    """All benchmarks or one; only JSON lines on standard output."""
    prepare(f"{ROLES} bench")
    sys.exit(_in_venv("-m", "bench", *([name] if name else [])))


def _in_venv(*words: str) -> int:
    environ = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT / "scripts"),  # tests use set-up's own code
        "PATH": f"{VENV / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        "GARAGE_TEST_CACHE": str(CACHE),
        "GARAGE_TEST_COMPLETE": "1",  # all is installed: a skip is a failure (tests/completeness.py)
        "LC_ALL": "C.UTF-8",
    }
    environ |= {"GARAGE_NODE_MODULES": str(WORK / "npm" / "node_modules")}
    done = subprocess.run(
        [VENV / "bin" / "python", *words], cwd=CHECKOUT, env=environ, stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode
