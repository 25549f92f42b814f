"""`offboard.keys`: seconds until all running guests have forgotten somebody who leaves, with a real worker and simulated nodes."""

from __future__ import annotations

import time

from sqlalchemy import func, select

from bench.controllers import Site, site, until
from bench.record import Figure, benchmark
from garage.core.states import State
from garage.db.models import Machine, Project
from garage.services import accounts, fleet, keys, offboarding, projects
from garage.services.context import Caller, Context

FEW, MANY = (20, 100), (50, 500)
"""(nodes, running guests)."""
BEHAVIOUR = (("agent", "0.72"), ("call", "0.02"))
"""Seconds that an emulated guest's agent takes for its three answers (open, write, close), and of each call to a node besides."""
LOOK = 0.05
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2vZbq7yqk1p0v3hX9l3mQe8m1mE4QmX6Xo8mH9m2bC leaver@desk"


@benchmark("offboard.keys")
def guests() -> Figure:
    """From the request, which is answered at once, until the last guest's agent has taken the keys without theirs."""
    few, _ = _measured(*FEW)
    many, answered = _measured(*MANY)
    note = f"asked for in {answered:.2f} s; {MANY[0]} nodes, one worker; each guest's agent takes {BEHAVIOUR[0][1]} s"
    return Figure("offboard.keys", many, "s", MANY[1], f"{note}; {FEW[1]} guests on {FEW[0]} nodes: {few:.1f} s")


def _measured(nodes: int, machines: int) -> tuple[float, float]:
    """Seconds until all guests have forgotten the key, and until the request was answered."""
    with site() as made:
        model = fleet.Model(folder=str(made.folder / "nodes"), behaviour=BEHAVIOUR)
        names = fleet.add_nodes(made.ctx, nodes, model)
        made.start("worker")
        fleet.add_machines(made.ctx, machines, names, state=State.PREPARING, sizes=("tiny",))
        until(lambda: _count(made, Machine.state == State.READY.value) == machines, 300, LOOK)
        admin = _with_a_leaver(made.ctx)
        until(lambda: _count(made, Machine.keys_applied) == machines, 120, LOOK)
        begun = time.monotonic()
        offboarding.offboard(made.ctx, admin, "leaver")
        answered = time.monotonic() - begun
        until(lambda: _count(made, Machine.keys_applied) == machines, 120, LOOK)
        return time.monotonic() - begun, answered


def _with_a_leaver(ctx: Context) -> Caller:
    """Somebody whose key all machines learn; returns the admin who will have them leave."""
    admin = Caller("", "bench", admin=True)
    token = accounts.create_user(ctx, admin, "leaver")[1]
    leaver = accounts.accept_invitation(ctx, token, "password of leaver", "127.0.0.1")[0]
    for name, role in (("admin", "owner"), ("leaver", "member")):
        projects.set_member(ctx, admin, fleet.PROJECT, name, role)
    keys.add(ctx, leaver, "laptop", KEY)
    return admin


def _count(made: Site, condition: object) -> int:
    query = select(func.count()).select_from(Machine).join(Project, Project.id == Machine.project_id)
    with made.ctx.db.read() as session:
        return session.scalar(query.where(Project.name == fleet.PROJECT, condition)) or 0  # type: ignore[arg-type]
