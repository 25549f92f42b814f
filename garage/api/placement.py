"""Routes that explain placement, and those of the labels that it looks at."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app

from garage.api import node_schemas as t
from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, locale, mutate
from garage.api.placement_schemas import ExplanationOut, OutlookOut, PlacementQuery
from garage.core.placement import Lack
from garage.core.refusal import reason
from garage.services import explaining, nodes

api = blueprint("placement", "placement")


@api.get("/machines/<ref>/explain", responses={200: ExplanationOut})
def explain_machine(path: s.Ref) -> dict[str, Any]:
    """Why a machine is where it is: what was true when it was placed, and what each node would say now."""
    found = explaining.explain(context(), caller(), path.ref)
    body = {"name": found.name, "node": found.node, "placed_at": found.placed_at, "then": found.then or None}
    return answer(ExplanationOut, body | {"now": _outlook(found.now) if found.now else None})


@api.get("/placement", responses={200: OutlookOut})
def would_be_placed(query: PlacementQuery) -> dict[str, Any]:
    """Where a machine would go now, and what each of the other nodes lacks."""
    wish = explaining.Wish(query.project, query.image, query.size, query.apart, query.node_label)
    return answer(OutlookOut, _outlook(explaining.would(context(), caller(), wish)))


@api.patch("/nodes/<ref>/labels", responses={200: t.NodeOut})
def label_node(header: s.MutationHeader, path: s.Ref, body: t.LabelsIn) -> Response:  # noqa: ARG001
    """Set labels of a node; an empty value removes one (admin, operator)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.NodeOut, nodes.label(ctx, who, path.ref, body.labels)))


def _outlook(found: explaining.Outlook) -> dict[str, Any]:
    shown = [
        {
            **{"node": each.node, "here": each.here, "fits": each.fits, "score": each.score, "parts": each.parts},
            "lacks": [_lack(lack) for lack in each.lacks],
        }
        for each in found.nodes
    ]
    counts = {"total": found.total, "fitting": found.fitting, "lacking": found.lacking}
    return {"policy": found.policy, "node": found.node, "nodes": shown, **counts}


def _lack(lack: Lack) -> dict[str, Any]:
    """With a text in the caller's language."""
    _, text, _ = current_app.extensions["garage_translate"](reason(lack), locale())
    return {"what": lack.what, "needed": lack.needed, "found": lack.found, "text": text}
