"""`netd join`, `leave`, `pause`, `resume`: what a site's operator types."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netd import joining
from netd.arrival import Arrival
from netd.config import Config
from netd.errors import NetdError
from netd.leaving import leave
from netd.membership import home
from netd.parts import make_overlay_of
from netd.shell.path_mtu import Echoes

MAX_TOKEN = 2000


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Hook ours into the parser; returns them for the options that all commands share."""
    join = commands.add_parser("join", help="join an overlay; the invitation's token comes by standard input")
    join.add_argument("url", metavar="URL", help="the registry's address, https://HOST:PORT")
    join.add_argument("--token-file", type=Path, help="read the token from a file instead")
    join.add_argument("--port", type=int, default=joining.DEFAULT_PORT, help="first UDP port of the links (51820)")
    join.add_argument("--ports", type=int, default=joining.DEFAULT_PORTS, help="how many ports links may use (100)")
    join.add_argument("--domain", default="", metavar="NAME", help="the network's, where it is under a public suffix")
    join.set_defaults(act=_join)
    leaving = commands.add_parser("leave", help="leave the overlay; machines and their network stay")
    leaving.add_argument("--force", action="store_true", help=argparse.SUPPRESS)  # what it did is done anyway
    leaving.set_defaults(act=_leave)
    pause = commands.add_parser("pause", help="stop other sites' traffic here at once, without asking anyone")
    pause.set_defaults(act=_pause)
    resume = commands.add_parser("resume", help="end a pause")
    resume.set_defaults(act=_resume)
    return [join, leaving, pause, resume]


def _join(config: Config, arguments: argparse.Namespace) -> None:
    given = {"port": arguments.port, "ports": arguments.ports, "domain": arguments.domain}
    joined = joining.join(config, arguments.url, _token(arguments.token_file), **given)
    print(f"joined as site {joined.site} ({joined.site}.{joined.domain}), AS {joined.asn}", flush=True)
    if joined.renumber:
        print(f"the registry gives {joined.ipv4} and {joined.ipv6}: this site's own are taken by another one")
        print("until this site takes them, others do not reach its machines: garage site renumber")
    Arrival(make_overlay_of(config), Echoes()).wait(reached=not joined.renumber)


def _token(path: Path | None) -> str:
    """From a file or standard input, never from the command line, which everybody on the server may read."""
    try:
        text = path.read_text()[:MAX_TOKEN] if path else sys.stdin.read(MAX_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        raise NetdError("token", f"the token cannot be read: {error}") from None
    if not text.strip():
        raise NetdError("token", "there is no token on standard input", hint="echo TOKEN | netd join URL")
    return text


def _leave(config: Config, _arguments: argparse.Namespace) -> None:
    """First here, which needs nobody; then the registry is told, if it can be."""
    overlay = make_overlay_of(config)
    overlay.node.adopt()
    for line in leave(overlay):
        print(line, flush=True)


def _pause(config: Config, _arguments: argparse.Namespace) -> None:
    place = home(config.state_dir)
    if place.membership() is None:
        raise NetdError("config", "this node has joined no overlay")
    place.paused.touch()
    _apply(config)
    print("paused: nothing of other sites passes; netd resume ends it")


def _resume(config: Config, _arguments: argparse.Namespace) -> None:
    place = home(config.state_dir)
    place.paused.unlink(missing_ok=True)
    _apply(config)
    print("resumed" if not place.capped.exists() else "still stopped: a line's volume is used up (netd status)")


def _apply(config: Config) -> None:
    """Here and now, whether the daemon runs or not."""
    overlay = make_overlay_of(config)
    overlay.restore()
    overlay.node.adopt()
    overlay.node.reapply()
