"""Routes by which servers become nodes, and cease to be some (admin)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from flask import Response, current_app, make_response
from pydantic import BaseModel, Field

from garage.api import node_schemas as t
from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, locale, mutate, page
from garage.core.ssh_target import key_fingerprint, parse_host_key, parse_target
from garage.errors import N_, GarageError
from garage.services import adding, directory, nodes
from garage.services.adding import TaskView
from garage.services.rights import require_admin

api = blueprint("adding", "garage")
AT_A_TIME = 3
"""Conversations with servers that may keep silent; each holds one of the threads that answer requests."""
_turns = threading.BoundedSemaphore(AT_A_TIME)


class Strangers(Protocol):
    """Servers that are no nodes yet, over SSH: what only a conversation can do. The composition root gives it."""

    def host_keys(self, address: str) -> list[str]:
        """Those that it shows, the best first."""

    def let_in(self, address: str, host_key: str, password: str, line: str) -> None:
        """Put `line` into root's authorized_keys there, by a password that is used once and kept nowhere."""


class TargetIn(s.In):
    target: str = Field(max_length=300, description="[root@]HOST[:PORT] of its SSH.")


class LetInIn(TargetIn):
    host_key: str = Field(max_length=800, description="“TYPE BASE64”, as somebody has compared it.")
    password: str = Field(min_length=1, max_length=1024, description="root's there; used once, never kept.")


class NodeIn(TargetIn):
    host_key: str = Field(max_length=800, description="“TYPE BASE64”, as somebody has compared it; pinned from now on.")
    name: str | None = Field(None, max_length=32, description="By default node2, node3 and so on.")
    own_name: str | None = Field(None, max_length=32, description="Of this garage's own site, while it has none.")


class HostKeyOut(BaseModel):
    host_key: str
    fingerprint: str


class HostKeyList(BaseModel):
    address: str
    items: list[HostKeyOut]


class FindingOut(BaseModel):
    """What is wrong with a server, or could be better."""

    level: str
    what: str
    detail: str
    hint: str


class NodeTaskOut(s.Out):
    """A server on its way to be a node, or not to be one any more."""

    name: str
    kind: str = Field(description="add, remove")
    address: str
    fingerprint: str
    state: str = Field(description="waiting, running, failed, done")
    step: str
    percent: int
    said: str = Field(description="The last line that the server said, or what remains to be done there.")
    findings: list[FindingOut]
    error: s.FailureOut | None
    asked_by: str
    asked_at: s.Time


class NodeTaskList(BaseModel):
    items: list[NodeTaskOut]


class NodeKeyOut(BaseModel):
    public_key: str = Field(description="A line for /root/.ssh/authorized_keys of a server that shall become a node.")


class NodeRef(s.NoQuery):
    ref: str = Field(max_length=64)


def shown(view: TaskView) -> dict[str, Any]:
    """With findings and error in the caller's language."""
    translate = current_app.extensions["garage_translate"]

    def told(text: str, hint: str, params: dict[str, Any]) -> tuple[str, str]:
        return translate(GarageError("unfit_node", text, hint=hint, **params), locale())[1:]  # type: ignore[no-any-return]

    findings = []
    for one in view.findings:
        detail, hint = told(one["text"], one["hint"], one["params"])
        findings.append({"level": one["level"], "what": one["what"], "detail": detail, "hint": hint})
    error = None
    if view.error:
        detail, hint = told(view.error["text"], view.error["hint"], view.error["params"])
        error = {"code": view.error["code"], "detail": detail, "hint": hint}
    same = {name: getattr(view, name) for name in NodeTaskOut.model_fields if name not in ("findings", "error")}
    return answer(NodeTaskOut, same | {"findings": findings, "error": error})


@api.get("/node-key", responses={200: NodeKeyOut})
def node_key() -> dict[str, Any]:
    """The controller's own SSH key, the public part (admin)."""
    return {"public_key": adding.public_key(context(), caller())}


@api.post("/node-host-keys", responses={200: HostKeyList})
def node_host_keys(body: TargetIn) -> dict[str, Any]:
    """The SSH host keys that a server shows, for a person to compare (admin). Changes nothing."""
    require_admin(caller())
    address = str(parse_target(body.target))
    with _turn():
        found = _strangers().host_keys(address)
    return {"address": address, "items": [{"host_key": key, "fingerprint": key_fingerprint(key)} for key in found]}


@api.post("/node-logins", responses={204: None})
def let_controller_in(body: LetInIn) -> Response:
    """Have a server let the controller's key in, by root's password there (admin). Not repeated by its key: no trace of it is kept."""
    who = caller()
    address, key = str(parse_target(body.target)), parse_host_key(body.host_key)
    line = adding.public_key(context(), who)
    if any(ord(char) < 32 or ord(char) == 127 for char in body.password):
        text, hint = N_("this cannot be a password"), N_("it is one line without control characters")
        raise GarageError("invalid_field", text, hint=hint, pointer="/password")
    with _turn():
        _strangers().let_in(address, key, body.password, line)
    adding.let_in(context(), who, address, key)
    return make_response("", 204)


@api.get("/nodes", responses={200: t.NodeList})
def list_nodes(query: s.NameQuery) -> dict[str, Any]:
    """Nodes with what is free on them, by name."""
    return page(t.NodeOut, directory.known_nodes(context(), caller(), **query.model_dump()))


@api.post("/nodes", responses={202: NodeTaskOut})
def add_node(header: s.MutationHeader, body: NodeIn) -> Response:  # noqa: ARG001
    """Make a server a node, or go on where that stopped (admin); `/node-tasks/NAME` tells how far it is."""
    who = caller()
    return mutate(
        202,
        lambda ctx: shown(adding.ask(ctx, who, body.target, body.host_key, name=body.name, own_name=body.own_name)),
    )


@api.get("/nodes/<ref>", responses={200: t.NodeOut})
def get_node(path: NodeRef) -> dict[str, Any]:
    """One node."""
    return answer(t.NodeOut, nodes.get(context(), caller(), path.ref))


@api.delete("/nodes/<ref>", responses={202: NodeTaskOut})
def remove_node(header: s.MutationHeader, path: NodeRef) -> Response:  # noqa: ARG001
    """Have a node be none any more, once no machine is on it (admin)."""
    who = caller()
    return mutate(202, lambda ctx: shown(adding.remove(ctx, who, path.ref)))


@api.get("/node-tasks", responses={200: NodeTaskList})
def list_node_tasks() -> dict[str, Any]:
    """Servers on their way, and the last that was wanted of each (admin, auditor)."""
    return {"items": [shown(view) for view in adding.listing(context(), caller())]}


@api.get("/node-tasks/<ref>", responses={200: NodeTaskOut})
def get_node_task(path: NodeRef) -> dict[str, Any]:
    """How far a server is (admin, auditor)."""
    return shown(adding.get(context(), caller(), path.ref))


def _strangers() -> Strangers:
    found: Strangers | None = current_app.extensions["garage_strangers"]
    if found is None:
        raise GarageError("unavailable", N_("this process cannot reach other servers"), hint=N_("ask the web process"))
    return found


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(blocking=False):
        hint = N_("try again in a few seconds")
        raise GarageError("unavailable", N_("several servers are being asked already"), hint=hint)
    try:
        yield
    finally:
        _turns.release()
