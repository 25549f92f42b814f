"""Steps with what they depend on: independent ones run side by side, done ones are skipped, the first failure ends all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from garage_setup.command import Runner
from garage_setup.digests import Stamps
from garage_setup.screen import Screen

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """`do` makes something out of what `digest` names; it is skipped while the stamp is the same and `holds()`."""

    name: str
    do: Callable[[Tell], str | None]
    """Returns a few words about the result."""
    after: tuple[str, ...] = ()
    digest: Callable[[], str] = lambda: ""
    """Empty: done every time (such a step is quick when nothing is to do, and silent)."""
    holds: Callable[[], bool] = lambda: True


@dataclass
class Report:
    """What was done, and in which time."""

    seconds: dict[str, float] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        """Whether any step did something worth a word."""
        return any(self.results.values())


class Graph:
    """Runs steps; every step's `after` must name earlier steps of the list."""

    def __init__(self, steps: Sequence[Step], stamps: Stamps, screen: Screen, runner: Runner) -> None:
        self._steps, self._stamps, self._screen, self._runner = steps, stamps, screen, runner
        self.report = Report()

    def run(self) -> Report:
        with ThreadPoolExecutor(max_workers=4) as pool:
            try:
                self._schedule(pool)
            except BaseException:
                self._runner.cancel()
                raise
        return self.report

    def _schedule(self, pool: ThreadPoolExecutor) -> None:
        waiting, running = list(self._steps), dict[Future[None], Step]()
        while waiting or running:
            for step in [step for step in waiting if self.report.done.issuperset(step.after)]:
                waiting.remove(step)
                running[pool.submit(self._one, step)] = step
            # a timeout, so that Ctrl-C is seen at once
            finished = wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done
            for future in finished:
                future.result()
                self.report.done.add(running.pop(future).name)

    def _one(self, step: Step) -> None:
        digest = step.digest()
        if digest and self._stamps.get(step.name) == digest and step.holds():
            return
        started = time.monotonic()
        if digest:
            self._screen.begin(step.name)
        result = step.do(lambda text: self._screen.tell(step.name, text))
        seconds = time.monotonic() - started
        if digest:
            self._stamps.set(step.name, digest)
        self.report.seconds[step.name] = seconds
        self.report.results[step.name] = result or ("done" if digest else "")
        if digest or result:
            self._screen.end(step.name, seconds, result or "")
