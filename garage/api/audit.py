"""Routes of the audit log."""

from __future__ import annotations

from typing import Any

from garage.api import audit_schemas as s
from garage.api.base import answer, blueprint, caller, context, items
from garage.services import audits, sealing

api = blueprint("audit", "garage")


@api.get("/audit", responses={200: s.AuditList})
def list_audit(query: s.AuditQuery) -> dict[str, Any]:
    """The audit log, newest first: your projects' entries, all for an admin or an auditor."""
    page = audits.listing(context(), caller(), query.search(), cursor=query.cursor, limit=query.limit)
    return items(s.AuditOut, page.items) | {"cursor": page.cursor}


@api.get("/audit/proof", responses={200: s.ProofOut})
def prove_audit(query: s.ProofQuery) -> dict[str, Any]:
    """Look through the whole chain of seals, and name the first entry that was changed, removed or put in (admin, auditor)."""
    return answer(s.ProofOut, sealing.verify(context(), caller(), number=query.number, hash_=query.hash))
