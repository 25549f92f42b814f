"""`python3 -m garage_setup COMMAND`: what the Makefile calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from garage_setup.place import find
from garage_setup.problem import SetupError, of_system


def _up() -> None:
    from garage_setup.up import up

    up(find())


def _down() -> None:
    from garage_setup.down import down

    down(find())


def _purge() -> None:
    from garage_setup.down import purge

    purge(find())


def _lock() -> None:
    from garage_setup.lockfiles import lock

    lock()


def _test() -> None:
    from garage_setup.testing import test

    test(sys.argv[2:])


def _long(module: str) -> Callable[[], None]:
    def run() -> None:
        from garage_setup.testing import long

        long(module)

    return run


def _bench() -> None:
    from garage_setup.testing import bench

    bench(os.environ.get("BENCH", ""))


def _node() -> None:
    from garage_setup.node import node

    node(find())


def _node_leave() -> None:
    from garage_setup.node import leave

    leave(find())


COMMANDS: dict[str, Callable[[], None]] = {
    "up": _up, "down": _down, "purge": _purge, "lock": _lock, "test": _test, "bench": _bench,
    "test-overlay": _long("overlay"), "test-burn-in": _long("burn_in"), "test-pools": _long("pools"),
    "test-api": _long("api"), "test-images": _long("images"),
    "node": _node, "node-leave": _node_leave,
}  # fmt: skip


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.exit(f"usage: garage_setup {'|'.join(COMMANDS)}")
    try:
        COMMANDS[name]()
    except SetupError as error:
        _show(error)
        sys.exit(error.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        sys.exit(141)
    except OSError as error:
        _show(of_system(error))
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"\nstopped; run `make {name}` again to go on", file=sys.stderr)
        sys.exit(130)


def _show(error: SetupError) -> None:
    if error.tail:
        print("\n".join(f"    {line}" for line in error.tail.splitlines()), file=sys.stderr)
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


if __name__ == "__main__":
    main()
