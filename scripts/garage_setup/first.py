"""The first machine: made over the API like anybody's, and proven by logging in to it."""

from __future__ import annotations

import time
from typing import Any

from garage_setup.command import Runner
from garage_setup.controller import Controller
from garage_setup.place import Place
from garage_setup.problem import SetupError
from garage_setup.steps import Tell

NAME = "first"
PATIENCE = 300.0
LEARN_SECONDS = 45.0


def first_machine(place: Place, runner: Runner, controller: Controller, tell: Tell) -> str:
    """Create it unless it is there, follow it to `ready`, log in. Returns how long that took."""
    started = time.monotonic()
    if (machine := _existing(controller)) is None:
        garage(place, runner, controller, "machine", "create", NAME, "--no-wait")
        machine = controller.get(f"/machines/{NAME}")
    elif machine["state"] in ("failed", "stopped", "suspended"):
        controller.post(f"/machines/{machine['id']}/start", {})
    machine = _follow(controller, machine["id"], runner, tell)
    tell("logging in with ssh")
    said = _log_in(place, runner, controller).strip().splitlines()
    return f"{NAME} is ready and lets us in ({said[-1] if said else ''}); {time.monotonic() - started:.0f} s from the request"


def _log_in(place: Place, runner: Runner, controller: Controller) -> str:
    """What the machine says; it may still have to learn our key, if it was there before the key."""
    deadline = time.monotonic() + LEARN_SECONDS
    while True:
        try:
            return garage(place, runner, controller, "ssh", NAME, "--", "uname -sr")
        except SetupError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _existing(controller: Controller) -> dict[str, Any] | None:
    """An interrupted run may have left it."""
    items = controller.get(f"/machines?search={NAME}")["items"]
    found = [item for item in items if item["name"] == NAME and item["state"] not in ("deleting", "gone")]
    return found[0] if found else None


def _follow(controller: Controller, identity: str, runner: Runner, tell: Tell) -> dict[str, Any]:
    """Until it is ready; raises SetupError with its last console lines when it fails."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        runner.check()
        machine: dict[str, Any] = controller.get(f"/machines/{identity}")
        if machine["state"] == "ready":
            return machine
        if machine["state"] == "failed":
            error = machine["error"] or {}
            raise SetupError(
                f"{NAME} failed: {error.get('detail')}",
                hint=error.get("hint") or f"garage machine show {NAME}",
                tail=machine["console_tail"],
            )
        tell(f"{machine['state']} {machine['step']}".strip())
        time.sleep(0.25)
    raise SetupError(
        f"{NAME} was not ready in {PATIENCE:.0f} s", hint=_why(controller) or f"garage machine show {NAME}"
    )


def _why(controller: Controller) -> str:
    """What the server says itself."""
    nodes = controller.get("/nodes")["items"]
    return "; ".join(said for node in nodes for said in (node["hypervisor_error"], node["netd_error"]) if said)


def garage(place: Place, runner: Runner, controller: Controller, *words: str) -> str:
    """The command `garage` as the admin of this very garage, whatever other profiles root may have."""
    env = {"GARAGE_URL": controller.url, "GARAGE_TOKEN_FILE": str(place.home / "admin.token")}
    if controller.tls:
        env["GARAGE_CA"] = str(place.home / "keys" / "tls.crt")
    return runner.run([place.venv / "bin" / "garage", *words], env=env, hint=f"see {place.log}")
