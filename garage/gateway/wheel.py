"""The client packed as a wheel of its own, out of this very installation: same version, nothing to download to make it."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import garage
from garage import __version__

NAME = f"garage_cli-{__version__}-py3-none-any.whl"
INFO = f"garage_cli-{__version__}.dist-info"
REQUIRES = ("click>=8.1", "httpx>=0.27", "rich>=13", "websockets>=13")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that zip knows: the same sources give the same bytes."""


def build(folder: Path) -> Path:
    """Write the wheel into `folder` (PyPA's binary distribution format 1.0), unless it is there as it should be; returns its path."""
    path, temporary = folder / NAME, folder / f".{NAME}.new"
    files = _modules() | {
        f"{INFO}/METADATA": _metadata(),
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: garage\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": b"[console_scripts]\ngarage = garage.cli:main\n",
    }
    files[f"{INFO}/RECORD"] = _record(files)
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    if path.exists() and path.read_bytes() == temporary.read_bytes():
        temporary.unlink()
    else:
        temporary.chmod(0o644)
        temporary.replace(path)
    return path


def _modules() -> dict[str, bytes]:
    """What the client consists of: import-linter keeps it from needing more."""
    root = Path(garage.__file__).parent
    chosen = [root / "__init__.py", root / "errors.py", root / "cli.py", *sorted((root / "client").rglob("*.py"))]
    return {f"garage/{path.relative_to(root).as_posix()}": path.read_bytes() for path in chosen}


def _metadata() -> bytes:
    lines = ["Metadata-Version: 2.1", "Name: garage-cli", f"Version: {__version__}", "Summary: The garage command"]
    return "\n".join([*lines, "Requires-Python: >=3.11", *(f"Requires-Dist: {need}" for need in REQUIRES), ""]).encode()


def _record(files: dict[str, bytes]) -> bytes:
    """A line per file: name, hash, size; RECORD itself without the two."""
    lines = [f"{name},sha256={_hash(data)},{len(data)}" for name, data in files.items()]
    return "\n".join([*lines, f"{INFO}/RECORD,,", ""]).encode()


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
