"""A site takes the prefixes that the registry gave it: first a plan that somebody reviews, then all of it in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core.renumber import RUNNING, STILL, Move, Prefixes, digest, moved
from garage.core.states import Event, State
from garage.db.models import Machine, Project
from garage.errors import N_, GarageError
from garage.services import own_site
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import require_admin, require_reader
from garage.services.specs import raise_specs
from garage.services.transitions import fire

LEFT = (State.DELETING, State.GONE, State.LOST)


@dataclass(frozen=True, slots=True)
class Renumbering:
    """What would happen. `needed` is False where the registry agrees with the site, or the site is in no overlay."""

    needed: bool
    before: Prefixes
    after: Prefixes
    moves: list[Move]
    digest: str


def plan(ctx: Context, caller: Caller) -> Renumbering:
    require_reader(caller)
    with ctx.db.read() as session:
        return _plan(session, ctx)


def carry_out(ctx: Context, caller: Caller, agreed: str) -> Renumbering:
    """Do the plan whose digest is `agreed`. Raises `version_conflict` when it is another one by now, `wrong_state` when there is nothing to
    renumber, or while machines are in between."""
    require_admin(caller)
    with ctx.db.write() as session:
        found = _plan(session, ctx)
        _check(found, agreed)
        own_site.take_prefixes(session, found.after)
        versions = raise_specs(session)
        for move in found.moves:
            _move(session, ctx, session.get_one(Machine, move.id), move, versions)
        data = {"before": " ".join(found.before), "after": " ".join(found.after)}
        audit(session, ctx, caller.name, "site.renumber", own_site.current(session, ctx).name, **data)
    return found


def _plan(session: Session, ctx: Context) -> Renumbering:
    before = own_site.prefixes(session, ctx)
    after = own_site.allotted(session) or before
    query = select(Machine, Project.name).join(Project, Project.id == Machine.project_id).order_by(Machine.number)
    left = [state.value for state in LEFT]
    moves = [
        Move(
            **{"id": machine.id, "name": machine.name, "project": project, "state": machine.state},
            **{"ipv4_before": machine.ipv4, "ipv6_before": machine.ipv6},
            ipv4=moved(machine.ipv4, before[0], after[0]),
            ipv6=moved(machine.ipv6, before[1], after[1]),
        )
        for machine, project in session.execute(query.where(Machine.state.not_in(left)))
        if before != after
    ]
    return Renumbering(before != after, before, after, moves, digest(before, after, moves))


def _check(found: Renumbering, agreed: str) -> None:
    if not found.needed:
        text, hint = N_("this site has the prefixes that the registry gave it"), N_("there is nothing to renumber")
        raise GarageError("wrong_state", text, hint=hint)
    if found.digest != agreed:
        raise GarageError(
            "version_conflict",
            N_("the plan has changed since it was shown"),
            hint=N_("look at it again, then confirm it"),
        )
    fixed = {state.value for state in (*RUNNING, *STILL)}
    if between := [move.name for move in found.moves if move.state not in fixed]:
        raise GarageError(
            "wrong_state",
            N_("machines are on their way: {names}"),
            hint=N_("wait until they are ready or stopped, or delete them"),
            names=", ".join(between[:5]),
        )


def _move(session: Session, ctx: Context, machine: Machine, move: Move, versions: dict[str, int]) -> None:
    machine.ipv4, machine.ipv6 = move.ipv4, move.ipv6
    machine.spec_version = versions[machine.node]
    if move.restarts:
        machine.wants_running = True
        fire(session, ctx, machine, Event.STOP)
    else:
        publish_machine(session, ctx, machine)
