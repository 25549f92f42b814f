"""Python environments in an image: which requirements a recipe may have, and the pip that fetches their wheels for a guest. Pure."""

from __future__ import annotations

import re

LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!-]+( +--hash=sha256:[0-9a-f]{64})+")
GUESTS = {"bookworm": ("3.11", 36), "trixie": ("3.13", 41)}
"""Suite → its Python, and the minor version of its glibc 2."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC = 5
"""Of manylinux wheels (PEP 600)."""


def wrong_requirements(text: object) -> str:
    """Why it is none that we take, or nothing. Pinned, with hashes, from an index: no option, no address, no file."""
    if not isinstance(text, str):
        return "a text is needed"
    lines = [
        line for line in text.splitlines() if not line.lstrip().startswith("#")
    ]  # first: pip ends a comment with its line
    wanted = [line for line in map(str.strip, "\n".join(lines).replace("\\\n", " ").splitlines()) if line]
    wrong = next((line for line in wanted if not LINE.fullmatch(line)), "")
    if wrong:
        return f"“{wrong[:60]}” is not NAME==VERSION --hash=sha256:…"
    return "" if wanted else "requirements are needed"


def download_argv(pip: list[str], suite: str, architecture: str, requirements: str, target: str) -> list[str]:
    """The wheels of the file `requirements` that fit the guest, whatever Python this server has. `pip`: the command's beginning."""
    python, glibc = GUESTS[suite]
    machine = MACHINES[architecture]
    versions = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
    legacy = [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    platforms = [word for name in (*versions, *legacy, f"linux_{machine}") for word in ("--platform", name)]
    abis = [word for name in (f"cp{python.replace('.', '')}", "abi3", "none") for word in ("--abi", name)]
    return [
        *(*pip, "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", python, *abis, *platforms),
        *("--requirement", requirements, "--dest", target),
    ]
