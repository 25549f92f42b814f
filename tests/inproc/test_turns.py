"""Turns and the crowd: many nodes on few threads, and none that holds up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from garage.worker.turns import SLOW, Crowd, Turns


class Counting:
    """A job that counts its turns, and never wants another."""

    def __init__(self, seconds: float = 3600.0) -> None:
        self.turns, self.seconds, self.inside, self.most = 0, seconds, 0, 0
        self.gate = threading.Event()
        self.gate.set()

    def turn(self) -> float:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.gate.wait(10)
        self.turns += 1
        self.inside -= 1
        return self.seconds


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(threads=2)
    yield made
    made.close()


def test_a_thousand_jobs_share_two_threads(turns: Turns) -> None:
    jobs = [Counting() for _ in range(1000)]
    for job in jobs:
        turns.add(job)
    eventually(lambda: all(job.turns == 1 for job in jobs))
    turns.wake(jobs[7])
    eventually(lambda: jobs[7].turns == 2)
    time.sleep(0.05)
    assert sum(job.turns for job in jobs) == 1001, "only who was woken"


def test_what_is_due_gets_its_turn(turns: Turns) -> None:
    job = Counting(seconds=0.01)
    turns.add(job)
    eventually(lambda: job.turns >= 5)
    turns.remove(job)
    after = job.turns
    time.sleep(0.05)
    assert job.turns == after


def test_who_is_woken_in_its_turn_gets_another_one_and_never_two_at_once(turns: Turns) -> None:
    job = Counting()
    job.gate.clear()
    turns.add(job)
    eventually(lambda: job.inside == 1)
    for _ in range(5):
        turns.wake(job)
    job.gate.set()
    eventually(lambda: job.turns == 2)
    time.sleep(0.02)
    assert (job.turns, job.most) == (2, 1)


def test_who_is_removed_has_ended_its_turn(turns: Turns) -> None:
    job = Counting()
    job.gate.clear()
    turns.add(job)
    eventually(lambda: job.inside == 1)
    threading.Timer(0.05, job.gate.set).start()
    turns.remove(job)
    assert job.turns == 1
    turns.wake(job)
    time.sleep(0.02)
    assert job.turns == 1


def test_who_waits_for_an_end_takes_no_word_from_who_gives_turns(turns: Turns) -> None:
    """The waiting one has come before the thread that is to hear."""
    due_before, slow, job = Counting(1800.0), Counting(), Counting()
    turns.add(due_before)
    eventually(lambda: due_before.turns == 1)
    slow.gate.clear()
    turns.add(slow)
    eventually(lambda: slow.inside == 1)
    removing = threading.Thread(target=turns.remove, args=(slow,))
    removing.start()
    time.sleep(0.05)
    turns.add(job)
    eventually(lambda: job.turns == 1)
    time.sleep(0.05)
    turns.wake(job)
    eventually(lambda: job.turns == 2, 3.0)
    slow.gate.set()
    removing.join()


class Stopwatch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_slow_nodes_leave_half_of_the_threads_to_others() -> None:
    watch, gate, done = Stopwatch(), threading.Event(), []
    crowd = Crowd(8, watch)
    running: list[str] = []

    def hang(name: str) -> Callable[[], None]:
        def work() -> None:
            running.append(name)
            gate.wait(10)

        return work

    for number in range(4):
        crowd.submit(f"hung{number}", hang(f"hung{number}"))
    eventually(lambda: len(running) == 4)
    watch.now += SLOW + 1
    for number in range(4):
        crowd.submit(f"hung{number}", hang("again"), limit=8)
    for number in range(100):
        crowd.submit(f"well{number}", lambda: done.append(1))
    eventually(lambda: len(done) == 100)
    assert "again" not in running, "what is slow holds its half already"
    gate.set()
    eventually(lambda: running.count("again") == 4)
    crowd.close()


def test_a_key_has_its_limit_and_its_order() -> None:
    crowd, gate, begun = Crowd(8), threading.Event(), []

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            begun.append(number)
            gate.wait(10)

        return run

    for number in range(5):
        crowd.submit("node", work(number), limit=2)
    eventually(lambda: len(begun) == 2)
    time.sleep(0.02)
    assert sorted(begun) == [0, 1]
    gate.set()
    eventually(lambda: len(begun) == 5)
    crowd.close()
    assert sorted(begun) == [0, 1, 2, 3, 4]
