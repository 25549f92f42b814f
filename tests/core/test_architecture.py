"""The tree is explained once: every folder stands in docs/ARCHITECTURE.md, itself or with the folder that it belongs to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z_./-]+/)` \|", re.MULTILINE)
INNER = re.compile(r"`([a-z_]+)/`")


def _folders() -> set[str]:
    """Folders of tracked files, as `a/b/`, without hidden ones."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    parents = {parent for line in done.stdout.splitlines() for parent in Path(line).parents if parent != Path(".")}
    return {f"{path}/" for path in parents if not any(part.startswith(".") for part in path.parts)}


def _explained() -> set[str]:
    """Rows of the table of folders, and folders that a row's text names, as in `db/` … `migrations/`."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text().partition("## Folders")[2].partition("\n## ")[0]
    rows = set(ROW.findall(text))
    for line in text.splitlines():
        if found := ROW.match(line):
            rows |= {f"{found[1]}{name}/" for name in INNER.findall(line[found.end() :])}
    return rows


def test_every_folder_is_explained() -> None:
    """The first two levels by name; what lies deeper belongs to the folder above it."""
    upper = {folder for folder in _folders() if folder.count("/") <= 2}
    assert sorted(upper - _explained()) == []


def test_no_row_is_left_over() -> None:
    assert sorted(row for row in _explained() if not (ROOT / row).is_dir()) == []
