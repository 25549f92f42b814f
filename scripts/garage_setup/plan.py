"""The steps of `make up`, and what each depends on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import Any

from garage_setup import pages, pythons
from garage_setup.build import Builder, source_digest
from garage_setup.checks import RECIPE
from garage_setup.command import Runner
from garage_setup.controller import Controller
from garage_setup.digests import Stamps, of_files
from garage_setup.files import link, remove_tree
from garage_setup.first import first_machine
from garage_setup.kit import NAME, kit_digest, make_kit
from garage_setup.place import CHECKOUT, SCRIPTS, Place
from garage_setup.services import read_environment
from garage_setup.start import start_services, stop_outdated
from garage_setup.steps import Step, Tell

ROLES_FIRST = "controller build"
ROLES_ALL = "controller build hypervisor network"
IMAGE_BUILDERS = [CHECKOUT / "garage" / "shell" / f"{name}.py" for name in ("images", "initrd", "rootfs")]
"""An image is built again when what builds it has changed (it says itself when that makes no difference), whatever the mirror."""
IMAGE_FILES = ("disk.qcow2", "vmlinuz", "initrd.img", "manifest.json")
"""`garage.shell.images.FILES`, which set-up cannot import."""
REGISTERED = "image registered"
"""The stamp that holds the sha256 of the image which new machines get."""
SAID = ("installing ", "starting ", "adding ", "changing ")
"""How the lines of node-setup begin that tell a change."""
INIT_VARIABLES = ("GARAGE_DATABASE_URL",)


@dataclass
class Plan:
    """Holds what the steps share; each method is one step's work."""

    place: Place
    runner: Runner
    stamps: Stamps
    facts: dict[str, Any] = field(default_factory=dict)
    """What `garage-server init` said."""

    def __post_init__(self) -> None:
        setup = self.place.setup
        self.tools = setup / "tools"
        self.environments = pythons.Environments(self.runner, self.tools, setup / "pip-cache")
        self.builder = Builder(self.runner, self.environments, self.tools, setup / "build")
        self.tools_digest = pythons.python_digest(CHECKOUT / "requirements-build.txt")
        self.libraries_digest = pythons.python_digest(CHECKOUT / "requirements.txt")
        self.program_digest = of_files([], self.libraries_digest, source_digest())
        self.next_libraries = self.place.home / "venvs" / f"libraries-{self.libraries_digest}"
        self.next_venv = self.place.home / "venvs" / self.program_digest

    def steps(self) -> list[Step]:
        """Listed so that each comes after those it needs. Slow ones that don't need each other run side by side."""
        program, libraries = self.program_digest, self.libraries_digest
        image = of_files([path for path in (RECIPE, *IMAGE_BUILDERS) if path.exists()], *self._asked())
        return [
            Step("basics", self.basics),
            Step("tools", self.make_tools, (), lambda: self.tools_digest, lambda: pythons.is_complete(self.tools)),
            Step("packages", self.packages, ("basics",)),
            Step("libraries", self.libraries, ("tools",), lambda: libraries, self._has_libraries),
            Step("pages", self.pages, ("tools",), self._pages_digest, (self.builder.work / "vendor").is_dir),
            Step("program", self.program, ("basics", "libraries", "pages"), lambda: program, self._has_program),
            Step(
                "kit",
                self.kit,
                ("tools",),
                lambda: of_files([], kit_digest(), self.tools_digest),
                (self.place.home / NAME).is_dir,
            ),
            Step("garage", self.init, ("program",), self._init_digest, (self.place.home / "admin.token").exists),
            Step("image", self.image, ("garage",), lambda: image, self._has_image),
            Step("services", self.services, ("garage", "packages")),
            Step("machine", self.machine, ("image", "services"), lambda: "once"),
        ]

    def basics(self, tell: Tell) -> str | None:
        """Packages without which nothing can be built, the user, the folders."""
        return self._node_setup(ROLES_FIRST, tell)

    def packages(self, tell: Tell) -> str | None:
        """All the others, and libvirt running."""
        return self._node_setup(ROLES_ALL, tell)

    def make_tools(self, tell: Tell) -> str:
        self.environments.make_tools(CHECKOUT / "requirements-build.txt", tell)
        return "pip, node, setuptools"

    def libraries(self, tell: Tell) -> str:
        """Beside those in use, which are left alone; versions with the same requirements share them."""
        self.environments.make(self.next_libraries, CHECKOUT / "requirements.txt", tell)
        return "pinned Python packages"

    def pages(self, tell: Tell) -> str:
        self.builder.vendor(tell)
        return "npm packages of the pages"

    def program(self, tell: Tell) -> str:
        """Make a new environment, and make it the one in use."""
        self.environments.make_upon(self.next_libraries, self.next_venv, self.builder.server(tell), tell)
        wheel = self.builder.client(tell)
        shutil.copy(wheel, self.place.home / "wheels" / f".{wheel.name}")
        (self.place.home / "wheels" / f".{wheel.name}").rename(self.place.home / "wheels" / wheel.name)
        link(self.place.venv, self.next_venv)
        return f"garage in {self.place.venv}"

    def kit(self, tell: Tell) -> str:
        """What the worker carries to servers that become nodes."""
        make_kit(self.builder, self.place.home, tell)
        return "netd for other servers"

    def init(self, tell: Tell) -> str:
        """Settings, keys, admin; the database at this version. What runs of an older version stops first."""
        tell("garage-server init")
        stop_outdated(self.place)
        listen = self.place.environ.get("GARAGE_LISTEN")
        words = ["init", "--admin", self.place.environ.get("GARAGE_ADMIN") or "admin"]
        self._server(*words, *(["--listen", listen] if listen else []))
        self._server("migrate")
        return f"instance {self.place.instance}"

    def image(self, tell: Tell) -> str:
        """The default image, built and registered."""
        said = self._server("build-image", str(RECIPE), tell=tell)
        self.stamps.set(REGISTERED, json.loads(said.splitlines()[-1])["sha256"])
        return RECIPE.stem

    def services(self, tell: Tell) -> str | None:
        return start_services(self.place, self.runner, self.stamps, tell)

    def machine(self, tell: Tell) -> str:
        return first_machine(self.place, self.runner, Controller(self.place), tell)

    def remove_old_environments(self) -> None:
        """Those of earlier versions, when nothing runs from them any more."""
        for path in (self.place.home / "venvs").iterdir():
            if path not in (self.next_libraries, self.next_venv):
                remove_tree(path)

    def _node_setup(self, roles: str, tell: Tell) -> str | None:
        said: list[str] = []

        def hear(line: str) -> None:
            if line.startswith(SAID):
                said.append(line)
            tell(line[:100])

        arguments = ("--home", self.place.home, "--roles", roles)
        self.runner.run([SCRIPTS / "node-setup", *arguments], on_line=hear, uninterrupted=True)
        return "; ".join(_short(line) for line in said) or None

    def _server(self, *words: str, tell: Tell = lambda _: None) -> str:
        env = {key: self.place.environ[key] for key in INIT_VARIABLES if self.place.environ.get(key)}
        return self.runner.run([self.place.venv / "bin" / "garage-server", *words], env=env, on_line=tell)

    def _has_libraries(self) -> bool:
        return pythons.is_complete(self.next_libraries)

    def _has_program(self) -> bool:
        return pythons.is_complete(self.next_venv) and self.place.venv.resolve() == self.next_venv

    def _pages_digest(self) -> str:
        return of_files([], pages.vendor_digest(CHECKOUT / "web"), self.tools_digest)

    def _init_digest(self) -> str:
        """The program, and what it was told; a variable that is no longer given keeps what it said."""
        return of_files([], self.program_digest, self.place.listen, *self._asked())

    def _asked(self) -> list[str]:
        """Which database: another one knows no image yet."""
        kept = read_environment(self.place.service_env)
        return [self.place.environ.get(key) or kept.get(key, "") for key in INIT_VARIABLES]

    def _has_image(self) -> bool:
        """The very one that is registered, whole; older ones of before do not count."""
        sha256 = self.stamps.get(REGISTERED)
        folder = self.place.home / "images" / sha256
        return bool(sha256) and all((folder / name).exists() for name in IMAGE_FILES)


def _short(line: str) -> str:
    verb, *words = line.split()
    return f"{len(words)} packages" if verb == "installing" else line.partition(":")[0]
