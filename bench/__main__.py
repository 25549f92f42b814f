"""`python -m bench [NAME]`: figures on standard output, one JSON object per line, and nothing else; the rest on standard error."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import signal
import sys
import traceback
from pathlib import Path

from bench.record import BENCHMARKS, Figure, line

INFRASTRUCTURE = {
    "controllers",
    "large",
    "pooled",
    "record",
    "running",
    "simulated",
    "sites",
    "virt_install",
    "workplace",
    "__main__",
}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what a benchmark has built is taken down again
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name not in INFRASTRUCTURE:
            importlib.import_module(f"bench.{module.name}")
    wanted = sys.argv[1:] or sorted(BENCHMARKS)
    if unknown := [name for name in wanted if name not in BENCHMARKS]:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(sorted(BENCHMARKS))}")
    failed = [name for name in wanted if not _run(name)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _run(name: str) -> bool:
    """One benchmark; what it prints itself goes to standard error."""
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            figure: Figure = BENCHMARKS[name]()
    except Exception:  # noqa: BLE001  (the others shall still be measured)
        traceback.print_exc()
        return False
    print(line(figure), flush=True)
    return True


if __name__ == "__main__":
    main()
