"""Writing a machine's seed disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from garage.shell.run import run


def write_seed(path: Path, files: Mapping[str, bytes]) -> None:
    """An ISO 9660 image with the label "cidata" (cloud-init's NoCloud) at `path`, mode 0600: whole or not at all."""
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".seed-"))
    try:
        content = folder / "content"
        content.mkdir()
        for name, data in files.items():
            (content / name).write_bytes(data)
        image = folder / "seed.iso"
        os.close(os.open(image, os.O_WRONLY | os.O_CREAT, 0o600))
        run(
            [
                "genisoimage",
                "-quiet",
                "-output",
                str(image),
                "-volid",
                "cidata",
                "-rational-rock",
                "-joliet",
                str(content),
            ],
            timeout=30,
        )
        image.rename(path)
    finally:
        shutil.rmtree(folder)
