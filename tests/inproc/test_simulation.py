"""`garage admin simulate`: the same seed gives the same run, policies differ in what they are for, nothing of it stays."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from garage.client import output
from garage.client.commands.simulate import columns
from garage.client.state import Cli
from garage.config import Config
from garage.core.arrivals import Load, at_first, later, sample
from garage.core.placement import Room
from garage.core.types import Demand, NodeFacts
from garage.simulation import simulate
from tests.inproc.test_cli import Shell

LOAD = Load(machines=16, minutes=10, lifetime_minutes=30)


def run(policy: str, load: Load = LOAD, nodes: int = 8) -> dict[str, Any]:
    found = simulate(replace(Config(), placement_policy=policy), nodes, load, 3, lambda _done, _what: None)
    return {name: value for name, value in found.items() if not name.startswith("place_ms")}


def test_runs_are_repeatable_and_policies_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spread, pack = run("spread"), run("pack")
    assert run("spread") == spread
    assert list(tmp_path.iterdir()) == []
    assert (spread["asked"], spread["refused"], spread["memory"]) == (pack["asked"], 0, pack["memory"])
    assert pack["used_nodes"] < spread["used_nodes"]


def test_a_fleet_that_is_too_small_refuses_and_says_why() -> None:
    found = run("spread", Load(machines=20, minutes=10, lifetime_minutes=60, sizes=(("large", 1.0),)), nodes=2)
    assert found["refused"] > 10
    assert found["refused_why"] == {"no_capacity": found["refused"]}
    assert 0.5 < found["memory"] <= 1.0


def test_the_load_is_what_it_says() -> None:
    load, rng = Load(machines=500, minutes=600, lifetime_minutes=60), random.Random(1)
    first, more = at_first(load, rng), list(later(load, rng))
    assert len(first) == 500
    assert len(more) == pytest.approx(500 * 10, rel=0.1)
    assert [each.at for each in more] == sorted(each.at for each in more)
    assert sum(each.lasts for each in more) / len(more) == pytest.approx(3600, rel=0.1)
    alive = [sum(each.at <= at < each.at + each.lasts for each in (*first, *more)) for at in range(0, 36_000, 3600)]
    assert sum(alive) / len(alive) == pytest.approx(500, rel=0.1)


def test_what_is_in_pieces_counts_as_fragmented() -> None:
    facts = NodeFacts(8, 9216, 100.0, 100.0, "tcg")
    rooms = [Room(name, facts, Demand(1, used, 0), 1024, 0.0, 1.0, 1.0) for name, used in (("a", 4096), ("b", 0))]
    found = sample(rooms, Demand(8, 8192, 10))
    assert (found.memory, found.vcpus, found.used_nodes) == (0.25, 2 / 16, 1.0)
    assert found.fragmented == pytest.approx(4096 / 12_288)


def test_at_the_command_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path, GARAGE_HOME=str(tmp_path))
    words = ("admin", "simulate", "--nodes", "2", "--machines", "4", "--minutes", "1", "--policy", "pack")
    done = shell(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0]["policy"] == "pack"
    assert "running" in done.stderr


def test_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    found = simulate(Config(), 1, Load(machines=2, minutes=1), 1, lambda _done, _what: None)
    output.show_list(Cli(), [found], columns())
    assert "spread" in capsys.readouterr().out
