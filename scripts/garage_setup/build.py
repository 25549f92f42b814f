"""Our own wheels: the server's, with everything the pages need, and the client's, which the controller hands out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from garage_setup import pages
from garage_setup.command import Runner
from garage_setup.digests import of_files, sources
from garage_setup.files import remove_tree
from garage_setup.place import CHECKOUT
from garage_setup.pythons import Environments
from garage_setup.steps import Tell

PACKAGES = ("garage", "netd", "web")
CLIENT = ("__init__.py", "py.typed", "errors.py", "cli.py", "client")
"""What of `garage/` the client needs; import-linter keeps it from needing more."""
IGNORE = shutil.ignore_patterns("__pycache__", "*.pyc", "*.mo", "vendor", "node_modules")


def source_digest() -> str:
    """Of all that goes into the wheels."""
    roots = [CHECKOUT / name for name in (*PACKAGES, "packaging", "pyproject.toml", "requirements.txt", "images")]
    return of_files(sources(*roots))


@dataclass(frozen=True)
class Builder:
    """Builds in `work`, below GARAGE_HOME: the checkout may belong to somebody else and stays as it is."""

    runner: Runner
    environments: Environments
    tools: Path
    work: Path

    def vendor(self, tell: Tell) -> None:
        """npm files into `work/vendor`, kept between builds."""
        pages.vendor(self.runner, self.tools, CHECKOUT / "web", self.work / "npm", self.work / "vendor", tell)

    def server(self, tell: Tell) -> Path:
        """The server's wheel."""
        source = self._clean("server")
        for name in PACKAGES:
            shutil.copytree(CHECKOUT / name, source / name, ignore=IGNORE)
        shutil.copy(CHECKOUT / "pyproject.toml", source)
        shutil.copytree(CHECKOUT / "images", source / "garage" / "recipes")
        shutil.copytree(self.work / "vendor", source / "web" / "static" / "vendor")
        pages.compile_translations(self.runner, self.tools, source / "web" / "translations")
        return self._wheel(source, tell)

    def netd(self, tell: Tell) -> Path:
        """netd's wheel, `garage_netd-VERSION-py3-none-any.whl`, for nodes that other servers lead."""
        source = self._clean("netd")
        shutil.copy(CHECKOUT / "packaging" / "netd" / "pyproject.toml", source)
        shutil.copytree(CHECKOUT / "netd", source / "netd", ignore=IGNORE)
        return self._wheel(source, tell)

    def client(self, tell: Tell) -> Path:
        """The client's wheel, `garage_cli-VERSION-py3-none-any.whl`."""
        source = self._clean("client")
        (source / "garage").mkdir()
        shutil.copy(CHECKOUT / "packaging" / "client" / "pyproject.toml", source)
        for name in CLIENT:
            path = CHECKOUT / "garage" / name
            if path.is_dir():
                shutil.copytree(path, source / "garage" / name, ignore=IGNORE)
            elif path.exists():
                shutil.copy(path, source / "garage")
        return self._wheel(source, tell)

    def _clean(self, name: str) -> Path:
        path = self.work / name
        if path.exists():
            remove_tree(path)
        path.mkdir(parents=True)
        return path

    def _wheel(self, source: Path, tell: Tell) -> Path:
        out = self._clean(f"{source.name}-wheel")
        self.environments.wheel(source, out, tell)
        return next(out.glob("*.whl"))
