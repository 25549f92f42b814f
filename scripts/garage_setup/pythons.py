"""Python environments: made by the server's own Python, filled from hash-pinned wheels, complete or not there."""

from __future__ import annotations

import platform
from pathlib import Path

from garage_setup.command import Runner
from garage_setup.digests import of_files
from garage_setup.files import remove_tree
from garage_setup.steps import Tell

PYTHON = "/usr/bin/python3"
DIST_PACKAGES = Path("/usr/lib/python3/dist-packages")
COMPLETE = ".complete"
PIP = {
    **{"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"},
    **{"PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_WARN_SCRIPT_LOCATION": "1"},
}
PIP_HINT = "is a Python package index reachable? /etc/pip.conf, ~/.config/pip/pip.conf and PIP_INDEX_URL name it"


def python_digest(*files: Path) -> str:
    """What an environment depends on: its requirements and the server's Python."""
    return of_files(files, platform.python_version(), platform.machine())


class Environments:
    """Makes environments with the pip of a `tools` environment, so that the others need none."""

    def __init__(self, runner: Runner, tools: Path, cache: Path) -> None:
        self._runner, self._tools = runner, tools
        self._environ = {**PIP, "PIP_CACHE_DIR": str(cache)}

    def make_tools(self, requirements: Path, tell: Tell) -> None:
        """The environment that builds: pip, setuptools, node, babel."""
        self._fresh(self._tools, [], tell)
        self._pip(
            self._tools,
            ["install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", requirements],
            tell,
        )
        (self._tools / COMPLETE).touch()

    def make(self, path: Path, requirements: Path, tell: Tell) -> None:
        """An environment with `requirements` alone; left as it is if it is there, as what runs may be using it."""
        if is_complete(path):
            return
        self._fresh(path, ["--without-pip"], tell)
        words = ("install", "--require-hashes", "--no-deps", "--only-binary", ":all:")
        self._pip(path, [*words, "-r", requirements], tell)
        (path / COMPLETE).touch()

    def make_upon(self, libraries: Path, path: Path, wheel: Path, tell: Tell) -> None:
        """An environment with a wheel of our own that sees `libraries` and the server's libvirt module; as before if it is there."""
        if is_complete(path):
            return
        self._fresh(path, ["--without-pip"], tell)
        (_site(path) / "libraries.pth").write_text(f"{_site(libraries)}\n")
        self._pip(path, ["install", "--no-index", "--no-deps", wheel], tell)
        link_libvirt(path)
        (path / COMPLETE).touch()

    def download(self, requirements: Path, target: Path, python: Path, tell: Tell) -> None:
        """The wheels of `requirements`, for servers like this one, by the pip of the environment `python`."""
        target.mkdir()
        words = ("download", "--require-hashes", "--no-deps", "--only-binary", ":all:")
        argv: list[str | Path] = [python / "bin" / "python", "-m", "pip", *words, "-d", target, "-r", requirements]
        self._runner.run(argv, on_line=_short(tell), env=self._environ, hint=PIP_HINT)

    def install_editable(self, path: Path, source: Path, tell: Tell) -> None:
        arguments = ("install", "--no-index", "--no-deps", "--no-build-isolation", "-e", source)
        self._runner.run([path / "bin" / "python", "-m", "pip", *arguments], on_line=_short(tell), env=self._environ)

    def wheel(self, source: Path, destination: Path, tell: Tell) -> None:
        """Build the wheel of a source folder with the pinned setuptools, without any index."""
        arguments = ("wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", destination, source)
        self._runner.run(
            [self._tools / "bin" / "python", "-m", "pip", *arguments], on_line=_short(tell), env=self._environ
        )

    def _fresh(self, path: Path, options: list[str], tell: Tell) -> None:
        if path.exists():
            remove_tree(path)
        tell("python3 -m venv")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._runner.run([PYTHON, "-m", "venv", *options, path])

    def _pip(self, path: Path, arguments: list[str | Path], tell: Tell) -> None:
        pip: list[str | Path] = [self._tools / "bin" / "python", "-m", "pip", "--python", path / "bin" / "python"]
        self._runner.run([*pip, *arguments], on_line=_short(tell), env=self._environ, hint=PIP_HINT)


def is_complete(path: Path) -> bool:
    return (path / COMPLETE).exists() and (path / "bin" / "python").exists()


def link_libvirt(path: Path) -> None:
    """Give an environment Debian's own libvirt module: it fits the server's libvirt, and no compiler is needed."""
    for source in DIST_PACKAGES.glob("libvirt*"):
        target = _site(path) / source.name
        target.unlink(missing_ok=True)
        target.symlink_to(source)


def _site(path: Path) -> Path:
    return next((path / "lib").glob("python3.*/site-packages"))


def _short(tell: Tell) -> Tell:
    return lambda line: tell(line.strip().partition(" (from ")[0][:80])
