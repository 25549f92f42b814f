"""Routes of machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app

from garage.api import machine_schemas as t
from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, failure, locale, mutate
from garage.errors import GarageError
from garage.services import describing, machines, remaking, transferring
from garage.services.context import Caller, Context
from garage.services.filtering import Filter
from garage.services.views import MachineView

api = blueprint("machines", "machines", "/machines")
TOLD = ("error", "resize_error", "warnings")
"""Fields whose texts are in the caller's language."""


def shown(view: MachineView) -> dict[str, Any]:
    """A machine's JSON, the reasons of failures and warnings in the caller's language."""
    body = answer(t.MachineOut, _without_texts(view))
    if view.warnings:
        body["warnings"] = warned(view.warnings)
    return body | {"error": failure(view.error), "resize_error": failure(view.resize_error)}


def warned(warnings: Sequence[GarageError]) -> list[dict[str, str]]:
    """In the caller's language."""
    translate = current_app.extensions["garage_translate"]
    told = [(warning.pointer, *translate(warning, locale())[1:]) for warning in warnings]
    return [{"pointer": pointer, "detail": detail, "hint": hint} for pointer, detail, hint in told]


def _without_texts(view: MachineView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in t.MachineOut.model_fields if name not in TOLD}


@api.get("", responses={200: t.MachineList})
def list_machines(query: t.MachineQuery) -> dict[str, Any]:
    """Your machines (an admin's: all), filtered, in an order, a page at a time."""
    wanted = Filter(**query.model_dump(include=set(Filter.__dataclass_fields__)))
    page = machines.listing(context(), caller(), wanted, sort=query.sort, cursor=query.cursor, limit=query.limit)
    return {"items": [shown(view) for view in page.items], "cursor": page.cursor}


@api.post("", responses={201: t.MachineMade})
def create_machine(header: s.MutationHeader, body: t.MachineIn) -> Response:  # noqa: ARG001  (documents the header)
    """Ask for a machine, or for several at once; it is yours at once and `ready` when its SSH answers."""
    who, count = caller(), body.count
    wanted = machines.NewMachine(**body.model_dump(exclude={"count"}))
    if count is None:
        return mutate(201, lambda ctx: shown(machines.create(ctx, who, wanted)))

    def several(ctx: Context) -> dict[str, Any]:
        made = machines.create_many(ctx, who, wanted, count)
        return {"items": [shown(view) for view in made], "cursor": None}

    return mutate(201, several)


@api.get("/<ref>", responses={200: t.MachineOut})
def get_machine(path: s.Ref) -> dict[str, Any]:
    """One machine, by id, NAME or NAME.PROJECT."""
    return shown(machines.seen(context(), caller(), path.ref))


@api.patch("/<ref>", responses={200: t.MachineOut})
def change_machine(header: s.MutationHeader, path: s.Ref, body: t.MachinePatch) -> Response:  # noqa: ARG001
    """Rename a machine, set its tags or its notes."""
    who, wanted = caller(), body
    return mutate(
        200,
        lambda ctx: shown(
            describing.describe(ctx, who, path.ref, name=wanted.name, tags_=wanted.tags, notes=wanted.notes)
        ),
    )


@api.post("/<ref>/rebuild", responses={202: t.MachineOut})
def rebuild_machine(header: s.MutationHeader, path: s.Ref, body: t.RebuildIn) -> Response:  # noqa: ARG001
    """The same machine on a new disk; what is on the old one is lost. Name, addresses, keys and lease stay."""
    who, ref, image = caller(), path.ref, body.image
    return mutate(202, lambda ctx: shown(remaking.rebuild(ctx, who, ref, image=image)))


@api.post("/<ref>/resize", responses={200: t.MachineOut})
def resize_machine(header: s.MutationHeader, path: s.Ref, body: t.ResizeIn) -> Response:  # noqa: ARG001
    """Another size: of a machine that is off from its next start on; of one that is ready, which can only grow, while it runs
    (`growing` until it has). A disk never shrinks."""
    who, ref, size = caller(), path.ref, body.size
    return mutate(200, lambda ctx: shown(remaking.resize(ctx, who, ref, size)))


@api.post("/<ref>/transfer", responses={200: t.MachineOut})
def transfer_machine(header: s.MutationHeader, path: s.Ref, body: t.TransferIn) -> Response:  # noqa: ARG001
    """Give a machine that is ready, off or failed to another of your projects; its addresses stay, its name's project changes."""
    who, ref, project = caller(), path.ref, body.project
    return mutate(200, lambda ctx: shown(transferring.transfer(ctx, who, ref, project)))


@api.delete("/<ref>", responses={202: t.MachineOut})
def delete_machine(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Delete a machine and its disk."""
    return _act(202, path.ref, machines.delete)


@api.post("/<ref>/start", responses={202: t.MachineOut})
def start_machine(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Start a stopped, suspended or failed machine."""
    return _act(202, path.ref, machines.start)


@api.post("/<ref>/stop", responses={202: t.MachineOut})
def stop_machine(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Shut a machine down; its disk stays."""
    return _act(202, path.ref, machines.stop)


@api.post("/<ref>/reboot", responses={202: t.MachineOut})
def reboot_machine(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Shut a machine down and start it again."""
    return _act(202, path.ref, machines.reboot)


@api.post("/<ref>/renew", responses={200: t.MachineOut})
def renew_machine(header: s.MutationHeader, path: s.Ref, body: t.RenewIn) -> Response:  # noqa: ARG001
    """Let the lease end later."""
    who, ref, days = caller(), path.ref, body.days
    return mutate(200, lambda ctx: shown(machines.renew(ctx, who, ref, days=days)))


def _act(status: int, ref: str, service: Any) -> Response:
    who: Caller = caller()

    def run(ctx: Context) -> dict[str, Any]:
        return shown(service(ctx, who, ref))

    return mutate(status, run)
