"""Which image is on which node, as its worker sees it, and copies on their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core import copies
from garage.core.hypervisor_types import ImageOrder
from garage.core.types import NodeAccess
from garage.db.models import Image, Node
from garage.db.node_models import NodeImage
from garage.errors import GarageError
from garage.services.context import Context
from garage.services.placing import PRESENT
from garage.services.views import CopyView
from garage.services.work import Hold, held

COPYING, FAILED = "copying", "failed"
ALIVE = 60.0
"""Seconds for which a copy that says nothing still counts: its worker tells every few."""
MARGIN = 64 << 20
"""Bytes that a qcow2 file may be larger than what it holds."""
FILES = {"disk.qcow2": "sha256", "vmlinuz": "kernel_sha256", "initrd.img": "initrd_sha256"}
"""Of an image, and where its manifest has their sha256."""
MBIT = 1_000_000 // 8


@dataclass(frozen=True, slots=True)
class Errand:
    """What to copy, and from whom."""

    order: ImageOrder
    source: NodeAccess


def note(ctx: Context, hold: Hold, present: Collection[str]) -> None:
    """What its worker sees on a node; writes nothing when that is known."""
    whole = NodeImage.node == hold.node, NodeImage.state == PRESENT
    with ctx.db.read() as session:
        if set(session.scalars(select(NodeImage.image).where(*whole))) == set(present):
            return
    with ctx.db.write() as session:
        held(session, hold)
        session.execute(delete(NodeImage).where(*whole, NodeImage.image.not_in(present)))
        for image in present:
            _put(session, ctx, hold, image, state=PRESENT, source="", error=None)


def begin(ctx: Context, hold: Hold, image: str) -> Errand | None:
    """Take a place at a source for this copy; None when all are taken or nobody has it."""
    with ctx.db.write() as session:
        held(session, hold)
        row = session.scalars(select(Image).where(Image.sha256 == image)).one()
        query = select(NodeImage).where(NodeImage.state == COPYING, NodeImage.since > ctx.clock() - ALIVE)
        serving = Counter(
            copy.source for copy in session.scalars(query) if (copy.node, copy.image) != (hold.node, image)
        )
        name = copies.source(hold.node, _holders(session, image), serving, ctx.config.node)
        if name is None:
            return None
        _put(session, ctx, hold, image, state=COPYING, source=name, error=None)
        node = session.get_one(Node, name)
        access = NodeAccess(node.name, node.hypervisor, node.address, node.ssh_host_key)
        return Errand(_order(ctx, hold.node, image, row.manifest), access)


def _holders(session: Session, image: str) -> list[str]:
    """Nodes that have it whole and answer."""
    query = select(Node.name).join(NodeImage, NodeImage.node == Node.name)
    whole = NodeImage.image == image, NodeImage.state == PRESENT
    return list(session.scalars(query.where(*whole, Node.silent_since.is_(None), Node.hypervisor_error == "")))


def _order(ctx: Context, node: str, image: str, manifest: dict[str, Any]) -> ImageOrder:
    files = {name: str(manifest[key]) for name, key in FILES.items() if manifest.get(key)}
    caps = ctx.config.image_copy_mbit
    rate = int(caps.get(node, caps.get("*", 0)) * MBIT)
    return ImageOrder(image, files, manifest, int(manifest.get("virtual_bytes", 0)) + MARGIN, rate)


def under_way(session: Session, ctx: Context, nodes: Collection[str]) -> dict[str, list[CopyView]]:
    """Copies that run or were given up for now, by the nodes asked for."""
    query = select(NodeImage, Image.name).join(Image, Image.sha256 == NodeImage.image)
    query = query.where(NodeImage.node.in_(nodes))
    found: dict[str, list[CopyView]] = {}
    for copy, name in session.execute(query.where(NodeImage.state.in_((COPYING, FAILED))).order_by(Image.name)):
        if copy.state == FAILED or copy.since > ctx.clock() - ALIVE:
            view = CopyView(
                name, copy.source, copies.percent(copy.done, copy.total), (copy.error or {}).get("code", "")
            )
            found.setdefault(copy.node, []).append(view)
    return found


def progress(ctx: Context, hold: Hold, image: str, done: int, total: int) -> None:
    with ctx.db.write() as session:
        held(session, hold)
        _put(session, ctx, hold, image, done=done, total=total)


def finish(ctx: Context, hold: Hold, image: str, error: GarageError | None) -> None:
    """It is there, or was given up for now."""
    with ctx.db.write() as session:
        held(session, hold)
        state = PRESENT if error is None else FAILED
        _put(session, ctx, hold, image, state=state, source="", error=error.as_dict() if error else None)


def _put(session: Session, ctx: Context, hold: Hold, image: str, **values: Any) -> None:
    row = session.get(NodeImage, (hold.node, image))
    if row is None:
        row = NodeImage(node=hold.node, image=image, state=COPYING)
        session.add(row)
    for key, value in {**values, "since": ctx.clock()}.items():
        setattr(row, key, value)
