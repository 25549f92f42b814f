"""One machine: its progress, how to reach it, its lease, its console, what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, make_response

from garage.core.refusal import reason
from garage.errors import GarageError
from garage.services import disk_copies, explaining, machines, snapshots
from garage.services.history import last_boot
from garage.services.views import MachineView
from web import forms
from web.i18n import told
from web.pages import volumes
from web.pages.base import bp, live, page, to
from web.pages.machines import row
from web.session import caller, ctx

ACTIONS: dict[str, Callable[..., MachineView]] = {
    "start": machines.start,
    "stop": machines.stop,
    "reboot": machines.reboot,
    "delete": machines.delete,
}


@bp.get("/machines/<ref>")
def machine_page(ref: str) -> Response:
    """By id, NAME or NAME.PROJECT. A machine that is gone keeps its page, which says so."""
    who, ref = caller(), forms.reference(ref)
    view = machines.seen(ctx(), who, ref)
    why = told(GarageError.from_dict(view.error)) if view.error else None
    short = told(GarageError.from_dict(view.resize_error)) if view.resize_error else None
    kept = snapshots.listing(ctx(), who, view.id)
    told_of = {each.id: told(GarageError.from_dict(each.error)) for each in kept if each.error}
    steps = last_boot(ctx(), who, view.id)
    disk = disk_copies.get(ctx(), who, view.id)
    disk_why = told(GarageError.from_dict(disk.error)) if disk.error else None
    about: dict[str, Any] = {"disk": disk, "disk_why": disk_why, "why": why, "short": short, "steps": steps}
    about |= volumes.of_machine(who, view)
    return page("machines/page.html", machine=view, snapshots=kept, told_of=told_of, **about)


@bp.get("/machines/<ref>/why")
def machine_why(ref: str) -> Response:
    """Why it is on its node, and what each node would say now."""
    found = explaining.explain(ctx(), caller(), forms.reference(ref))
    lacks = (
        {each.node: [told(reason(lack)).message for lack in each.lacks] for each in found.now.nodes}
        if found.now
        else {}
    )
    return page("machines/why.html", found=found, lacks=lacks, ref=ref)


@bp.get("/machines/<ref>/row")
def machine_row(ref: str) -> Response:
    """For a page that shows it, nothing of one that the caller may not see any more: its row goes."""
    try:
        return row(machines.seen(ctx(), caller(), forms.reference(ref)))
    except GarageError as error:
        if error.code == "not_found" and live():
            return make_response("")
        raise


@bp.get("/machines/<ref>/delete")
def machine_delete_ask(ref: str) -> Response:
    return page("machines/delete.html", doomed=[machines.get(ctx(), caller(), forms.reference(ref))])


@bp.post("/machines/<ref>/renew")
def machine_renew(ref: str) -> Response:
    return _done(machines.renew(ctx(), caller(), forms.reference(ref), days=forms.number("days")))


@bp.post("/machines/<ref>/<any(start, stop, reboot, delete):action>")
def machine_act(ref: str, action: str) -> Response:
    return _done(ACTIONS[action](ctx(), caller(), forms.reference(ref)))


def _done(view: MachineView) -> Response:
    """The row for the list, a redirect to the page it came from otherwise."""
    if live():
        return row(view)
    if forms.text("from") == "list" or view.state in ("deleting", "gone"):
        return to("machines_list")
    return to("machine_page", ref=view.id)
