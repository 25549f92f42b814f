"""`garage machine rename`, `tag`, `note`, `resize`, `rebuild`, `list` with filters, and completion, against the real app."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import json
import threading
import time

import pytest

from garage.client.commands.machine import finish
from garage.client.state import Cli
from garage.core.states import Event
from garage.db.models import Machine
from garage.errors import KINDS, GarageError
from garage.services import machines, projects, volumes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.volumes import NewVolume
from tests.inproc.served import play
from tests.inproc.shown import shell  # noqa: F401  (a fixture)
from tests.inproc.test_cli import Shell


def test_a_machine_is_renamed_tagged_noted_resized_and_rebuilt(shell: Shell, ctx: Context, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    assert shell("machine", "rename", "one", "two").stdout == "one is called two now\n"
    assert shell("machine", "tag", "two", "b", "a").stdout == "a b\n"
    assert shell("machine", "tag", "two", "c", "--remove", "a").stdout == "b c\n"
    assert shell("machine", "note", "two", "of room 3").stdout == "of room 3\n"
    assert shell("machine", "note", "two").stdout == "of room 3\n"
    assert "b c" in shell("machine", "list", "--tag", "b", "--sort", "name", "--owner", "alice").stdout
    assert json.loads(shell("machine", "list", "--tag", "a", "-o", "json").stdout) == {"items": []}
    assert "small" in shell("machine", "resize", "two", "small").stdout
    projects.create(ctx, alice, "arms")
    given = shell("machine", "transfer", "two", "arms")
    assert given.stdout == "two belongs to arms now; its name is two.arms.home.garage.internal\n"
    assert shell("machine", "transfer", "two", "legs").returncode == KINDS["not_found"].exit
    refused = shell("machine", "rebuild", "two", stdin="n\n")
    assert refused.returncode == 130
    assert machines.get(ctx, alice, "two").state == "stopped"
    assert shell("machine", "rebuild", "two", "--yes", "--no-wait").returncode == 0
    assert machines.get(ctx, alice, "two").state == "preparing"
    assert shell("machine", "resize", "two", "small").returncode == KINDS["wrong_state"].exit


def test_one_that_runs_grows_and_it_is_waited_for(shell: Shell, ctx: Context, alice: Caller) -> None:
    ref = machines.create(ctx, alice, NewMachine(name="one", size="tiny")).id
    play(ctx, ref, Event.STARTED, Event.ANSWERED)

    def worker(error: GarageError | None) -> None:
        """Plays it: as soon as more is wanted."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with ctx.db.write() as session:
                row = session.get_one(Machine, ref)
                if row.grown_from is not None:
                    for name, value in row.grown_from.items() if error else ():
                        setattr(row, name, value)
                    row.grown_from, row.resize_error = None, error.as_dict() if error else None
                    return
            time.sleep(0.05)

    began = shell("machine", "resize", "one", "small", "--no-wait").stdout
    assert began == "one grows to small (2 vCPU, 2 GiB, 10 GiB)\n"
    worker(None)
    for error in (GarageError("unavailable", "not now", hint="later"), None):
        thread = threading.Thread(target=worker, args=(error,))
        thread.start()
        done = shell("machine", "resize", "one", "medium")
        thread.join()
        if error:
            assert (done.returncode, "not now" in done.stderr) == (KINDS["unavailable"].exit, True), done
        else:
            assert done.stdout == "one: medium (4 vCPU, 4 GiB, 20 GiB)\n", done


@pytest.mark.parametrize("made", [True, False])
def test_how_it_began_is_told_of_one_that_was_made_just_now(made: bool, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        "state": "ready",
        "name": "one",
        "image": "debian-12",
        "size": "tiny",
        "cold_reason": "empty",
        "cold_detail": "",
    }
    finish(Cli(), {**found, "project": "alice", "owner": "alice"}, made=made)
    told = capsys.readouterr()
    assert ("it had to boot" in told.err) == made
    assert "garage ssh one" in told.out


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_printed_and_completes(shell: Shell, name: str) -> None:
    printed = shell("completion", name)
    assert printed.returncode == 0, printed.stderr
    assert "_GARAGE_COMPLETE" in printed.stdout
    word = "re" if name == "fish" else "2"
    completing = Shell(shell.home, COMP_WORDS="garage machine re", COMP_CWORD=word, _GARAGE_COMPLETE=f"{name}_complete")
    found = completing()
    for command in ("rename", "rebuild", "resize", "reboot", "renew"):
        assert command in found.stdout, found


def test_names_are_completed(shell: Shell, ctx: Context, alice: Caller, bob: Caller) -> None:
    for who, name in ((alice, "arm-one"), (alice, "arm-two"), (alice, "leg"), (bob, "arm-of-bob")):
        machines.create(ctx, who, NewMachine(name=name, size="tiny"))

    def completed(words: str, **more: str) -> list[str]:
        count = str(len(words.split(" ")) - 1)
        asked = {"COMP_WORDS": words, "COMP_CWORD": count, "_GARAGE_COMPLETE": "bash_complete", **more}
        return sorted(line.partition(",")[2] for line in shell(**asked).stdout.split("\n") if line)

    assert completed("garage machine stop ar") == ["arm-one", "arm-two"]
    assert completed("garage machine resize ar") == ["arm-one", "arm-two"]
    assert completed("garage ssh l") == ["leg"]
    volumes.create(ctx, alice, NewVolume("data", 1))
    assert completed("garage volume show d") == completed("garage machine create --volume d") == ["data"]
    assert completed("garage machine create --image deb") == ["debian-12"]
    assert completed("garage machine stop ar", GARAGE_URL="http://127.0.0.1:9") == [], "nobody answers there"
