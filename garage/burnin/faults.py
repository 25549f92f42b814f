"""What is broken, a line per fault. Each function breaks something and returns what mends it (nothing, where a supervisor does)."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from garage.burnin.journal import Journal
from garage.burnin.trial import WORKERS, Trial
from garage.core.consistency import Kind, Trouble

Mend = Callable[[], None]
REPEATS = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """`seconds`: how long it lasts before it is mended."""

    name: str
    inflict: Callable[[Trial, Journal, random.Random], Mend]
    seconds: float = 0.0


def _nothing() -> None:
    """A supervisor mends it."""


def kill_worker(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    trial.parts[chance.choice(WORKERS)].kill()
    return _nothing


def kill_workers(trial: Trial, _journal: Journal, _chance: random.Random) -> Mend:
    for name in WORKERS:
        trial.parts[name].kill()
    return _nothing


def kill_web(trial: Trial, _journal: Journal, _chance: random.Random) -> Mend:
    trial.parts["web"].kill()
    return _nothing


def kill_all(trial: Trial, _journal: Journal, _chance: random.Random) -> Mend:
    for part in trial.parts.values():
        part.kill()
    return _nothing


def freeze_worker(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    """It wakes up as an owner of the past."""
    part = trial.parts[chance.choice(WORKERS)]
    part.freeze()
    return part.thaw


def freeze_web(trial: Trial, _journal: Journal, _chance: random.Random) -> Mend:
    """It wakes up with answers of the past."""
    trial.parts["web"].freeze()
    return trial.parts["web"].thaw


def silence_node(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    return trial.spoil(chance.choice(trial.nodes), away=True)


def fill_disk(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    return trial.spoil(chance.choice(trial.nodes), disk_full=True)


def mute_guests(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    """Guests that boot never open port 22."""
    return trial.spoil(chance.choice(trial.nodes), mute=True)


def deafen_guests(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    """Guests ignore requests to shut down, and their agents answer nothing."""
    return trial.spoil(chance.choice(trial.nodes), deaf=True, agent_away=True)


def refuse_starts(trial: Trial, _journal: Journal, chance: random.Random) -> Mend:
    return trial.spoil(chance.choice(trial.nodes), start_refused="out of luck")


def repeat_request(trial: Trial, journal: Journal, _chance: random.Random) -> Mend:
    """One idempotency key, 100 times at once: one machine, the same answer for all who get one."""
    name, key = f"same-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    headers = {"Authorization": f"Bearer {trial.profile.token}", "Idempotency-Key": key}

    def ask(_number: int) -> str:
        body = {"name": name, "size": "tiny"}
        answer = httpx.post(
            f"{trial.profile.url}/api/v1/machines", json=body, headers=headers, timeout=60, trust_env=False
        )
        return str(answer.json().get("id", ""))

    with ThreadPoolExecutor(16) as pool:
        ids = {found for found in pool.map(ask, range(REPEATS)) if found}
    with journal.lock:
        journal.made.update(dict.fromkeys(ids, name))
        if len(ids) != 1:
            journal.wrong.append(Trouble(Kind.PROMISE, name, f"one request, {len(ids)} machines"))
    return _nothing


FAULTS: tuple[Fault, ...] = (
    Fault("worker killed", kill_worker),
    Fault("all workers killed", kill_workers),
    Fault("web killed", kill_web),
    Fault("everything killed", kill_all),
    Fault("worker frozen", freeze_worker, 8.0),
    Fault("web frozen", freeze_web, 3.0),
    Fault("node silent", silence_node, 8.0),
    Fault("disk full", fill_disk, 4.0),
    Fault("guests mute", mute_guests, 4.0),
    Fault("guests deaf", deafen_guests, 4.0),
    Fault("starts refused", refuse_starts, 4.0),
    Fault("request repeated", repeat_request),
)
