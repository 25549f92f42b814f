"""`garage node drain` and what belongs to it, against the real app, with workers on fake hypervisors that turn by themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.errors import KINDS
from garage.services.context import Caller, Context
from tests.conftest import Clock
from tests.inproc.nodes_rig import Nodes, nodes_rigged
from tests.inproc.served import serving
from tests.inproc.test_cli import Shell


class Turning:
    """Workers whose turns need no hand."""

    def __init__(self, rig: Nodes) -> None:
        self.rig, self._stop = rig, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self.rig.turn()

    def __enter__(self) -> Turning:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def two(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Nodes]:
    with nodes_rigged(ctx, clock, alice) as made:
        yield made


def test_shown_first_then_asked_then_watched(two: Nodes, admin: Caller, tmp_path: Path) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    (target,) = {*two.servers} - {source}
    with serving(two.ctx) as served:
        shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
        plan = shell.json("node", "drain", source)
        assert isinstance(plan, dict)
        assert plan["state"] == "active", "programs are shown, too, and nothing is done"
        assert [(one["name"], one["owner"], one["way"], one["target"]) for one in plan["machines"]] == [
            ("m", "alice", "live", target)
        ]
        refused = shell("node", "drain", source, stdin="n\n")
        assert refused.returncode == 130, "as if interrupted"
        assert "m.alice" in refused.stdout
        assert f"moves to {target} while it runs" in refused.stdout
        assert "1 machines move, 0 stay" in refused.stderr
        assert two.node(source).state == "active"
        with Turning(two):
            done = shell("node", "drain", source, stdin="y\n")
        assert done.returncode == 0, done.stderr
        assert f"m.alice runs on {target} now; it stood still for 20 ms" in done.stderr
        assert f"{source} is empty" in done.stdout
        assert shell.json("node", "drain", source, "--dry-run")["moves"][0]["pause_ms"] == 20.0  # type: ignore[index]
        assert "in maintenance" in shell("node", "list").stdout
        assert shell("node", "activate", source).stdout == f"{source}: takes machines\n"
        japanese = shell("node", "drain", target, "--dry-run", LANG="ja_JP.UTF-8")
        assert f"動いたまま {source} へ移ります" in japanese.stdout


def test_what_stays_is_named_and_is_an_error(two: Nodes, admin: Caller, tmp_path: Path) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    two.servers[source].fake.faults.migration_refused = "the disk is busy"
    with serving(two.ctx) as served, Turning(two):
        shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
        done = shell("node", "drain", source, "--yes", "-o", "json")
        assert done.returncode == KINDS["in_use"].exit
        said = json.loads(done.stderr)
        assert said["drain"]["machines"][0]["reason"]["detail"] == "libvirt refused: the disk is busy"
        assert shell("node", "maintenance", source).returncode == KINDS["in_use"].exit
        owner = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(two.caller))
        assert "its server is being emptied" in owner("machine", "list").stdout
        assert f"its server {source} is being emptied" in owner("machine", "show", "m").stdout


def test_a_machine_does_not_start_on_a_server_in_maintenance(two: Nodes, admin: Caller, tmp_path: Path) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    (target,) = {*two.servers} - {source}
    with serving(two.ctx) as served, Turning(two):
        shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
        assert shell("machine", "stop", "m.alice", "--wait").returncode == 0
        assert shell("node", "maintenance", target).returncode == 0
        left = shell("node", "drain", source, "--yes")
        assert left.returncode == 0, left.stderr
        assert "These are off and have their disks there" in left.stderr
        started = shell("machine", "start", "m.alice")
        assert started.returncode == KINDS["wrong_state"].exit
        assert "is in maintenance" in started.stderr
