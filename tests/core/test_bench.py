"""Benchmarks: what DESIGN names is there, and a killed one's leavings are removed by the next."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bench.record import BENCHMARKS
from bench.workplace import workplace

NAMES = {
    *("machine.cold_to_ssh", "memory.idle", "make_up.again"),
    *("overlay.throughput", "overlay.join", "overlay.failover_fast", "overlay.failover_default"),
    *("overlay.topology_1000", "overlay.poll", "memory.netd", "fleet.commit_sqlite"),
    *("api.list_25k", "web.list_25k", "memory.25k"),
}


def test_every_figure_that_is_promised_has_a_benchmark() -> None:
    for path in (Path(__file__).parents[2] / "bench").glob("*.py"):
        if path.stem != "__main__":
            importlib.import_module(f"bench.{path.stem}")
    assert set(BENCHMARKS) >= NAMES


def test_nothing_of_a_benchmark_stays(tmp_path: Path) -> None:
    removed: list[str] = []
    with workplace(tmp_path, {"domain": removed.append}) as place:
        (place.folder / "images").mkdir()
        with place.noted("domain", "bench-1", removed.append):
            assert removed == []
        assert removed == ["bench-1"]
    assert (removed, list(tmp_path.iterdir())) == (["bench-1"], [])


def test_what_a_failing_benchmark_made_is_removed(tmp_path: Path) -> None:
    removed: list[str] = []
    with pytest.raises(RuntimeError), workplace(tmp_path, {}) as place, place.noted("domain", "b1", removed.append):
        raise RuntimeError
    assert (removed, list(tmp_path.iterdir())) == (["b1"], [])


def test_what_a_killed_benchmark_made_is_removed_by_the_next(tmp_path: Path) -> None:
    folder, removed = tmp_path / "bench", list[str]()
    (folder / "images" / "ab").mkdir(parents=True)
    (folder / "domain").write_text("bench-2")
    with workplace(tmp_path, {"domain": removed.append, "machine": removed.append}) as place:
        assert removed == ["bench-2"]
        assert [path.name for path in place.folder.iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []
