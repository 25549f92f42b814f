"""One set-up of a garage at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from garage_setup.problem import SetupError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file; the kernel frees it whatever happens to us. Raises SetupError when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SetupError(
                f"{what} is already running (process {file.read().strip()})", hint="wait until it ends"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
