"""People at work: a few threads that make, stop, start and delete machines through the API, as fast as they are let."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from garage.burnin.journal import Journal
from garage.client.api import Api
from garage.client.errors import ClientError
from garage.client.profiles import Profile

UNSURE = frozenset({"unavailable", "internal", "timeout"})
"""Error codes after which a request may have been carried out."""


class Load:
    """`start()`, `rest()` (returns when nobody works), `start()` again …"""

    def __init__(
        self, profile: Profile, journal: Journal, *, people: int, machines: int, pause: float, seed: int
    ) -> None:
        """At most `machines` at a time; each of `people` waits about `pause` seconds between two requests."""
        self._profile, self._journal = profile, journal
        self._people, self._machines, self._pause, self._seed = people, machines, pause, seed
        self._numbers = iter(range(1, 1 << 30))
        self._working = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._working.set()
        self._seed += 1
        chances = [random.Random(f"{self._seed}/{number}") for number in range(self._people)]  # noqa: S311
        self._threads = [threading.Thread(target=self._work, args=(chance,)) for chance in chances]
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        self._working.clear()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self, chance: random.Random) -> None:
        api = Api(self._profile)
        while self._working.is_set():
            self._act(api, chance)
            time.sleep(chance.uniform(0, 2 * self._pause))

    def _act(self, api: Api, chance: random.Random) -> None:
        alive = self._journal.alive()
        verbs = ["make"] if len(alive) < self._machines else []
        match chance.choice([*verbs, *(["delete", "stop", "start"] if alive else [])]):
            case "make":
                self.make(api)
            case "delete":
                self.delete(api, chance.choice(alive))
            case verb:
                self._change(api, chance.choice(alive), verb)

    def make(self, api: Api, *, keep: bool = False) -> str | None:
        """The id of a new machine; None when it was refused, or nobody answered. `keep`: nobody else touches it."""
        with self._journal.lock:
            name = f"burn-{next(self._numbers)}"
        found = self._ask(
            lambda: api.post("/machines", {"name": name, "size": "tiny"}), lambda: self._journal.unsure.add(name)
        )
        if found is None:
            return None
        with self._journal.lock:
            self._journal.made[found["id"]] = name
            if keep:
                self._journal.kept.add(found["id"])
        return str(found["id"])

    def delete(self, api: Api, key: str) -> None:
        if self._ask(lambda: api.delete(f"/machines/{key}"), lambda: self._journal.asked.add(key)) is not None:
            with self._journal.lock:
                self._journal.deleted.add(key)

    def _change(self, api: Api, key: str, verb: str) -> None:
        self._ask(lambda: api.post(f"/machines/{key}/{verb}"), lambda: None)

    def _ask(self, request: Callable[[], dict[str, str]], unsure: Callable[[], None]) -> dict[str, str] | None:
        try:
            found = request()
        except ClientError as error:
            self._journal.refused(error.code)
            if error.code in UNSURE:
                with self._journal.lock:
                    unsure()
            return None
        self._journal.answered()
        return found
