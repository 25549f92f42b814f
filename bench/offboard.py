"""`offboard.keys`: seconds until all running guests have forgotten somebody who leaves, with a real worker and simulated nodes."""

from __future__ import annotations

import time

from sqlalchemy import func, select

from bench.controllers import Site, site, until
from bench.record import Figure, benchmark
from garage.core.states import State
from garage.db.models import Machine, Project
from garage.services import accounts, fleet, keys, offboarding, projects
from garage.services.context import Caller

NODES, MACHINES = 20, 100
CALL = 0.36
"""Seconds of each call to a node. A guest takes two, its keys and a look at it: 0.72 s, as long as an emulated guest's agent takes for
three answers (open, write, close)."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2vZbq7yqk1p0v3hX9l3mQe8m1mE4QmX6Xo8mH9m2bC leaver@desk"


@benchmark("offboard.keys")
def guests() -> Figure:
    """From the request, which is answered at once, until the last guest's agent has taken the keys without theirs."""
    with site() as made:
        behaviour = (("call", str(CALL)),)
        nodes = fleet.add_nodes(made.ctx, NODES, fleet.Model(folder=str(made.folder / "nodes"), behaviour=behaviour))
        made.start("worker")
        fleet.add_machines(made.ctx, MACHINES, nodes, state=State.PREPARING, sizes=("tiny",))
        until(lambda: _count(made, Machine.state == State.READY.value) == MACHINES, 300)
        admin = Caller("", "bench", admin=True)
        token = accounts.create_user(made.ctx, admin, "leaver")[1]
        leaver = accounts.accept_invitation(made.ctx, token, "password of leaver", "127.0.0.1")[0]
        for name, role in (("admin", "owner"), ("leaver", "member")):
            projects.set_member(made.ctx, admin, fleet.PROJECT, name, role)
        keys.add(made.ctx, leaver, "laptop", KEY)
        until(lambda: _count(made, Machine.keys_applied) == MACHINES, 120)
        begun = time.monotonic()
        offboarding.offboard(made.ctx, admin, "leaver")
        answered = time.monotonic() - begun
        until(lambda: _count(made, Machine.keys_applied) == MACHINES, 120)
        taken = time.monotonic() - begun
    note = f"asked for in {answered:.2f} s; {NODES} nodes, one worker, {2 * CALL} s per guest"
    return Figure("offboard.keys", taken, "s", MACHINES, note)


def _count(made: Site, condition: object) -> int:
    query = select(func.count()).select_from(Machine).join(Project, Project.id == Machine.project_id)
    with made.ctx.db.read() as session:
        return session.scalar(query.where(Project.name == fleet.PROJECT, condition)) or 0  # type: ignore[arg-type]
