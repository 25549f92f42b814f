"""The garage's rows as a file, and back. Secrets in it are encrypted with this garage's key, or hashes; the keys are not in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from garage.db import archive, loads
from garage.db.migrate import head
from garage.db.models import ApiToken, Audit, EventRow, Machine, Node, Setting, User
from garage.db.node_models import NodeCertificate, Worker
from garage.db.overlay_models import Counter, SiteNode
from garage.errors import N_, GarageError
from garage.services import adopting
from garage.services.context import Caller, Context, audit
from garage.services.overlay_state import raise_versions
from garage.services.rights import require_admin
from garage.services.work import PARKED

KEY_CHECK = b"a backup of this garage"
GROWING = ("next_number",)
"""Settings that are numbers which must never be given twice."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    rows: int
    made_at: float
    nodes: int
    signed_in: bool
    """The token that asked for it works still."""


def backup(ctx: Context, caller: Caller, out: IO[bytes]) -> int:
    """Write all rows of one moment; returns how many."""
    require_admin(caller)
    with ctx.db.write() as session:
        audit(session, ctx, caller.name, "garage.backup", ctx.config.instance)
    with ctx.db.read() as session:
        return archive.write(session, out, _header(ctx))


def _header(ctx: Context) -> dict[str, Any]:
    return {
        "revision": head(),
        "instance": ctx.config.instance,
        "made_at": ctx.clock(),
        "key_check": ctx.vault.lock(KEY_CHECK).decode(),
        "controller": _controller(ctx),
    }


def _controller(ctx: Context) -> str:
    public = ctx.controller_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(public).hexdigest()


def restore(ctx: Context, caller: Caller, path: Path, *, token_hash: str = "") -> Restored:
    """Replace all rows by those of the file, in one transaction; then nodes wait to be adopted. The file is untrusted. What keeps growing
    goes on from the higher number: epochs (a late write of before is refused), versions of specs (no node takes an older one), numbers of
    taps. A certificate that was revoked stays so. What was audited after the backup was made stays, and so does the token that asks."""
    require_admin(caller)
    with archive.read(path) as (header, staged):
        _check_keys(ctx, header)
        with ctx.db.write() as session:
            before = _Before(session, header, token_hash)
            rows = archive.replace(session, staged)
            nodes = before.carry_over(session, ctx)
            adopting.begin(session, ctx)
            _renew_overlay(session, ctx)
            made_at = _made_at(header)
            audit(session, ctx, caller.name, "garage.restore", ctx.config.instance, made_at=made_at, rows=rows)
            session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject="", data={"restored": True}))
            session.flush()
            if broken := loads.drift(session.connection()):
                raise RuntimeError(f"the sums of {broken[:5]} are wrong")
            signed_in = before.keep_token(session)
    return Restored(rows, made_at, nodes, signed_in)


def _made_at(header: dict[str, Any]) -> float:
    """0 where it does not say: then all audit entries stay."""
    found = header.get("made_at")
    return float(found) if isinstance(found, int | float) else 0.0


def _check_keys(ctx: Context, header: dict[str, Any]) -> None:
    try:
        opened = ctx.vault.unlock(str(header.get("key_check")).encode()) == KEY_CHECK
    except GarageError:
        opened = False
    if not opened or header.get("controller") != _controller(ctx):
        raise GarageError(
            "config",
            N_("the backup is of a garage with other keys"),
            hint=N_("put that garage's keys/secret.key and keys/controller.key in place first; nothing was changed"),
        )


class _Before:
    """What outlives a restore."""

    def __init__(self, session: Session, header: dict[str, Any], token_hash: str) -> None:
        self._nodes = {row.name: (row.epoch, row.spec_version, row.revision) for row in session.scalars(select(Node))}
        self._workers = [_values(row) for row in session.scalars(select(Worker))]
        self._counters = {row.name: row.value for row in session.scalars(select(Counter))}
        self._settings = {key: int(row.value) for key in GROWING if (row := session.get(Setting, key))}
        later = select(Audit).where(Audit.at > _made_at(header)).order_by(Audit.id)
        self._audits = [_values(row) for row in session.scalars(later)]
        self._certificates = [_values(row) for row in session.scalars(select(NodeCertificate))]
        token = session.scalars(select(ApiToken).where(ApiToken.hash == token_hash)).first()
        self._token = _values(token) if token else None

    def carry_over(self, session: Session, ctx: Context) -> int:
        nodes = list(session.scalars(select(Node)))
        for node in nodes:
            epoch, version, revision = self._nodes.get(node.name, (0, 0, 0))
            node.revision = max(revision, node.revision) + 1
            node.epoch, node.owner = max(epoch, node.epoch) + 1, ""
            node.spec_version, node.applied_version = max(version, node.spec_version) + 1, 0
            node.reported_at, node.silent_since, node.hypervisor_error = ctx.clock(), None, ""
        session.flush()
        of_its_node = select(Node.spec_version).where(Node.name == Machine.node).scalar_subquery()
        session.execute(
            update(Machine).values(spec_version=of_its_node), execution_options={"synchronize_session": False}
        )
        for counter in session.scalars(select(Counter)):
            counter.value = max(counter.value, self._counters.get(counter.name, 0))
        for key, value in self._settings.items():
            row = session.get(Setting, key)
            session.merge(Setting(key=key, value=str(max(value, int(row.value) if row else 0))))
        session.execute(delete(Setting).where(Setting.key.startswith(PARKED)))
        session.add_all([Worker(**values) for values in self._workers])
        for values in self._certificates:
            known = session.get(NodeCertificate, values["serial"])
            if known is None or known.revoked_at is None:
                session.merge(NodeCertificate(**values))
        for values in self._audits:
            session.add(Audit(**{name: value for name, value in values.items() if name != "id"}))
        session.flush()
        return len(nodes)

    def keep_token(self, session: Session) -> bool:
        """Only of somebody who is an admin by the backup, too."""
        if self._token is None:
            return False
        if session.scalars(select(ApiToken.id).where(ApiToken.hash == self._token["hash"])).first():
            return True
        owner = session.get(User, self._token["user_id"])
        if owner is None or owner.role != "admin" or owner.disabled:
            return False
        if session.get(ApiToken, self._token["id"]) is None:
            session.add(ApiToken(**self._token))
            return True
        return False


def _values(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def _renew_overlay(session: Session, ctx: Context) -> None:
    """Every node of the overlay gets a newer spec, and the table a newer version."""
    nodes = list(session.scalars(select(SiteNode.id)))
    raise_versions(session, ctx, nodes, table=bool(nodes))
