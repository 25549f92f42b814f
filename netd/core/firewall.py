"""Reading others' nftables rules: who closes UDP ports that links need; pure. Rows are those of `nft -j list table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def closing(rows: Sequence[Row], first: int, last: int) -> tuple[tuple[str, bool], ...]:
    """(“ip filter INPUT”, whether some rule of its table lets ports of `first` to `last` in) for each input chain that drops what no rule
    has taken: by its policy, or by a last rule without a condition."""
    chains = [row["chain"] for row in rows if "chain" in row]
    rules = [row["rule"] for row in rows if "rule" in row]
    opened = any(_opens(rule.get("expr", ()), first, last) for rule in rules)
    return tuple(
        (f"{chain['family']} {chain['table']} {chain['name']}", opened)
        for chain in chains
        if chain.get("hook") == "input" and (chain.get("policy") == "drop" or _ends_closed(chain, rules))
    )


def _ends_closed(chain: Row, rules: Sequence[Row]) -> bool:
    """Its last rule drops or rejects whatever comes to it."""
    place = chain["family"], chain["table"], chain["name"]
    last = [rule for rule in rules if (rule["family"], rule["table"], rule["chain"]) == place][-1:]
    words = [word for rule in last for expression in rule.get("expr", ()) for word in expression]
    return any(word in ("drop", "reject") for word in words) and not {"match", "xt", "vmap", "limit"} & set(words)


def _opens(expressions: Sequence[Row], first: int, last: int) -> bool:
    if not any("accept" in expression or "jump" in expression or "goto" in expression for expression in expressions):
        return False
    return any(_names(row["match"], first, last) for row in expressions if "match" in row)


def _names(match: Row, first: int, last: int) -> bool:
    left = match.get("left")
    payload = left.get("payload", {}) if isinstance(left, Mapping) else {}
    if payload.get("field") != "dport" or payload.get("protocol") not in ("udp", "th") or match.get("op") == "!=":
        return False
    return any(low <= last and high >= first for low, high in _spans(match.get("right")))


def _spans(right: object) -> Iterator[tuple[int, int]]:
    """Ranges of ports in the right side of a match."""
    if isinstance(right, int):
        yield right, right
    elif isinstance(right, Mapping) and "range" in right:
        low, high = right["range"]
        yield int(low), int(high)
    elif isinstance(right, Mapping) and "set" in right:
        for element in right["set"]:
            yield from _spans(element)
    elif isinstance(right, str) and right.startswith("@"):
        yield 0, 65_535  # a named set: what is in it may change, and is not read
