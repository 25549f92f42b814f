"""`netd status` and `netd plan` as text, out of the values that `-o json` prints; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netd.core.volume import GIB

DASH = "-"
HEADS = ("LINK", "PEER", "STATE", "SINCE", "RTT", "LOSS", "CLASS", "ENDPOINT", "MTU", "IN", "OUT")


def status_text(shown: Mapping[str, Any], now: float) -> str:
    """`now`: seconds since 1970."""
    overlay = shown.get("overlay")
    own = "\n".join(f"{key:12} {_word(value)}" for key, value in shown.items() if key != "overlay")
    return f"{own}\n\n{overlay_text(overlay, now)}" if overlay else f"{own}\noverlay      none (netd join URL)"


def overlay_text(shown: Mapping[str, Any], now: float) -> str:
    rows = {
        "registry": f"{shown['registry']}, answered {_ago(shown['registry_heard_at'], now)}",
        "site": f"{shown['site']}.{shown['domain']}, AS {shown['asn'] or DASH}",
        "documents": f"links {shown['spec_version']}, table {shown['table_version']} ({shown['sites']} sites)",
        "refused": _refusal(shown["refusal"]),
        "state": _state(shown),
        "lines": "; ".join(map(_line, shown.get("lines", ()))),
        "closed here": _word(shown["closed_here"]),
        "alarms": _word(shown["alarms"]),
        "problems": _word(shown["problems"]),
    }
    about = "\n".join(f"{key:12} {value}" for key, value in rows.items() if value)
    return f"{about}\n{table([HEADS, *(_link(link, now) for link in shown['links'])])}"


def _state(shown: Mapping[str, Any]) -> str:
    links = shown["links"]
    up = sum(link["state"] == "up" for link in links)
    words = [f"{up} of {len(links)} links up"]
    if shown.get("capped"):
        words.append("STOPPED: a line's volume is used up, nothing of other sites passes")
    elif shown["paused"]:
        words.append("PAUSED: nothing of other sites passes (netd resume)")
    words += [] if shown["daemon"] else ["netd run is not running: no measurements"]
    return "; ".join(words)


def _line(line: Mapping[str, Any]) -> str:
    """ "eth1: 12.3 of 500 GiB in 2026-11, 20 Mb/s"."""
    words = [f"{line['used'] / GIB:.1f} of {line['cap'] / GIB:g} GiB in {line['month'] or DASH}"] if line["cap"] else []
    words += [f"{line['rate_mbit']:g} Mb/s"] if line["rate_mbit"] else []
    return f"{line['name']}: {', '.join(words) or 'no limits'}"


def _refusal(refusal: Mapping[str, Any] | None) -> str:
    return f"version {refusal['version']}: {refusal['code']}: {refusal['text']}" if refusal else ""


def _link(link: Mapping[str, Any], now: float) -> tuple[str, ...]:
    peer = link["peer_site"] if link["peer_site"] == link["peer_node"] else f"{link['peer_site']}/{link['peer_node']}"
    return (
        link["interface"],
        peer,
        f"{link['state']}{' (draining)' if link['draining'] else ''}",
        _age(now - link["since"]) if link["since"] else DASH,
        DASH if link["rtt_ms"] is None else f"{link['rtt_ms']:.1f} ms",
        DASH if link["loss"] is None else f"{100 * link['loss']:.1f} %",
        DASH if link["class"] is None else str(link["class"]),
        link["endpoint"] or DASH,
        str(link["mtu"] or DASH),
        size(link["received"]),
        size(link["sent"]),
    )


def plan_text(shown: Mapping[str, Any], *, whole: bool = False) -> str:
    """`whole`: rule sets and files with every line, not their first alone."""
    overlay = shown["overlay"]
    lines = [f"! {note}" for note in shown["notes"]]
    for name, key in (("links", "spec_version"), ("table", "table_version")):
        if overlay and overlay[key][0] != overlay[key][1]:
            lines.append(f"registry: {name} {overlay[key][0]} → {overlay[key][1]}")
    lines += [f"  {line}" for line in overlay["changes"]] if overlay else []
    items = shown["items"] if whole else [_first_line(item) for item in shown["items"]]
    return "\n".join([*lines, *(items or ["nothing to change"])])


def _first_line(text: str) -> str:
    first, _, rest = text.partition("\n")
    return f"{first} … ({rest.count(chr(10)) + 1} lines more: netd --verbose plan)" if rest.strip() else first


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry, the last as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def size(count: float) -> str:
    """Bytes in powers of 1,000: "12.3 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _ago(at: float | None, now: float) -> str:
    return f"{_age(now - at)} ago" if at else "not yet"


def _age(seconds: float) -> str:
    """ "45 s", "12 min", "5 h", "3 d"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, seconds) // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} d"


def _word(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
