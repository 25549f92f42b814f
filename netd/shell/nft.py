"""nftables: reading what of ours is there, applying a transaction."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from netd.core.nft_text import MARK, SETS, counted, rated
from netd.shell.run import run

UNITS = {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}
"""Of rates, as nft prints those that divide evenly."""


class Seen(NamedTuple):
    """What is there of a garage's two tables; nothing when one is missing."""

    skeleton: str = ""
    """nft_text.skeleton_id."""
    chains: frozenset[tuple[str, str]] = frozenset()
    """(family, name)."""
    elements: frozenset[tuple[str, str]] = frozenset()
    """(set, element) of the sets of machines."""


def observe(table: str) -> Seen:
    bridge, inet = _list("bridge", table), _list("inet", table)
    if not bridge or not inet or _mark(bridge) != _mark(inet):
        return Seen()
    found = set()
    for item in (*bridge, *inet):
        if (entry := item.get("set")) and entry["name"] in SETS:
            found |= {(entry["name"], element_text(element)) for element in entry.get("elem", [])}
    chains = {(row["chain"]["family"], row["chain"]["name"]) for row in (*bridge, *inet) if "chain" in row}
    return Seen(_mark(bridge), frozenset(chains), frozenset(found))


def element_text(element: Any) -> str:
    """An element out of nft's JSON, as `nft_text.elements` writes it."""
    match element:
        case {"elem": {"val": value, "limit": limit}}:
            rate, burst = (limit.get(key, 0) * UNITS.get(limit.get(f"{key}_unit", ""), 0) for key in ("rate", "burst"))
            return rated(str(value), rate, burst)
        case {"elem": {"val": value, "ct count": count}}:
            return counted(str(value), count["val"])
        case {"concat": parts}:
            return " . ".join(parts)
    return str(element)


def dropping_elsewhere(table: str) -> list[str]:
    """Others' chains that drop what is forwarded by default ("ip filter FORWARD", as Docker leaves it): an accept of ours does not
    overrule them, so machines would have no internet."""
    text = run(["nft", "-j", "list", "chains"], check=False)
    rows = [row["chain"] for row in json.loads(text)["nftables"] if "chain" in row] if text.strip() else []
    found = [
        row for row in rows if row.get("hook") == "forward" and row.get("policy") == "drop" and row["table"] != table
    ]
    return sorted(f"{row['family']} {row['table']} {row['name']}" for row in found)


def _list(family: str, table: str) -> list[dict[str, Any]]:
    text = run(["nft", "-j", "list", "table", family, table], check=False)
    rows: list[dict[str, Any]] = json.loads(text)["nftables"] if text.strip() else []
    return rows


def _mark(rows: list[dict[str, Any]]) -> str:
    names = [row["chain"]["name"] for row in rows if "chain" in row]
    return next((name.removeprefix(MARK) for name in names if name.startswith(MARK)), "")


def apply(text: str) -> None:
    """One transaction: all of it or nothing."""
    run(["nft", "-f", "-"], input=text)


def delete(table: str) -> None:
    for family in ("bridge", "inet"):
        run(["nft", "delete", "table", family, table], check=False)
