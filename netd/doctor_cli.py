"""The command `netd doctor`: what is wrong with this server as a member of an overlay, or on the way to be one, and what to do."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from netd import config as configuration
from netd import doctor, joining, status
from netd.core.doctor import Verdict, doctor_text, worst
from netd.errors import NetdError
from netd.wire import SpecError

TO_MEND = 1
"""Exit code where something must be mended."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Hook ours into the parser."""
    command = commands.add_parser("doctor", help="what is wrong here, and what to do about it")
    command.add_argument("--registry", metavar="URL", default="", help="before joining: check the way to this registry")
    command.add_argument("--port", type=int, help=f"before joining: first UDP port ({joining.DEFAULT_PORT})")
    command.add_argument("--ports", type=int, help=f"before joining: how many ({joining.DEFAULT_PORTS})")
    command.set_defaults(act_bare=_doctor)
    return command


def _doctor(arguments: argparse.Namespace) -> None:
    """Also where netd's own files are what is wrong."""
    subject, verdicts = _subject(arguments)
    verdicts += doctor.examine(subject)
    level = worst(verdicts)
    shown = {"level": level, "verdicts": [asdict(verdict) for verdict in verdicts]}
    print(json.dumps(shown) if arguments.output == "json" else doctor_text(verdicts))
    sys.stdout.flush()
    sys.exit(TO_MEND if level == "fail" else 0)


def _subject(arguments: argparse.Namespace) -> tuple[doctor.Subject, list[Verdict]]:
    """What is to be examined, and what was wrong with finding it."""
    path: Path = arguments.config
    port, ports = arguments.port or joining.DEFAULT_PORT, arguments.ports or joining.DEFAULT_PORTS
    bare = doctor.Subject(path.parent, arguments.registry, port, ports)
    try:
        config = configuration.load(path)
    except NetdError as error:
        return bare, [Verdict("settings", "fail", error.text, error.hint)]
    bare = doctor.Subject(config.state_dir, arguments.registry, port, ports, config)
    try:
        overlay = status.look(config)
    except (NetdError, SpecError) as error:
        return bare, [
            Verdict("settings", "fail", str(error), "make up writes netd's files anew; netd leave, then join")
        ]
    member = overlay.member
    if member:
        port, ports = arguments.port or member.port, arguments.ports or member.ports
    url = arguments.registry or (member.url if member else "")
    wrong = [] if overlay.node.spec else [_alone()]
    return doctor.Subject(config.state_dir, url, port, ports, config, overlay), wrong


def _alone() -> Verdict:
    return Verdict("network", "fail", "this node has no network of its own yet", "make up, and start netd run")
